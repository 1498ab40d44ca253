import Attention
import AttentionReference
import Glibc
import Tensors
import Testing

/// Masks that the input says: their patterns against their definitions.
@Suite("Masks of the input")
struct InputMaskTests {
  /// Sizes, masks and numbers of which a seed decides.
  private struct Case: CustomStringConvertible {
    let seed: UInt64
    let choice: PatternChoice
    let inputs: MaskInputs

    init(seed: UInt64) {
      self.seed = seed
      var random = MaskRandom(seed: seed)
      let keyTokens = Int.random(in: 1...90, using: &random)
      let tokens =
        Bool.random(using: &random) ? keyTokens : Int.random(in: 1...90, using: &random)
      var kinds: [[any Mask]] = [
        [SegmentMask()], [PaddingMask()], [SegmentMask(), PaddingMask()], [ParallelWindowMask()],
        [BlockMask(path: "")], [BlockMask(path: ""), PaddingMask()],
      ]
      let first = Int.random(in: 0..<keyTokens, using: &random)
      let globals = GlobalMask(tokens: [0..<1, first..<min(keyTokens, first + 3)])
      kinds.append([EtcMask(radius: Int.random(in: 0...9, using: &random), globals: globals)])
      if tokens == keyTokens { kinds += [[SegmentMask(.starts)], [StarMask()]] }
      var masks = kinds.randomElement(using: &random) ?? []
      if Bool.random(using: &random) { masks.append(CausalMask()) }
      if seed % 3 == 0 {
        masks.append(WindowMask(width: Int.random(in: 1...20, using: &random)))
        masks.append(SinkMask(count: 2))
      }
      choice = PatternChoice(masks)
      var inputs = choice.drawnInputs(
        batch: Int.random(in: 1...3, using: &random), queryHeads: 2, tokens: tokens,
        keyTokens: keyTokens, seed: seed)
      // Half of them in an order that nothing can be said of, with many stretches.
      if seed % 2 == 0 {
        for (name, table) in inputs.tables where name != "cu_seqlens" {
          let most: Int32 = name == "key_padding_mask" ? 1 : [1, 5, 900][Int(seed % 3)]
          let isTask = masks.contains { $0 is ParallelWindowMask }
          let least: Int32 = isTask && name != "key_padding_mask" ? -1 : 0
          let numbers = table.numbers.map { _ in Int32.random(in: least...most, using: &random) }
          inputs.add(MaskTable(shape: table.shape, numbers: numbers), as: name)
        }
      }
      if choice.masks.contains(where: { $0 is BlockMask }) {
        inputs.add(Self.blocks(tokens, keyTokens, &random), as: "block_mask")
      }
      self.inputs = inputs
    }

    private static func blocks(
      _ tokens: Int, _ keyTokens: Int, _ random: inout MaskRandom
    ) -> MaskTable {
      func blocks(_ tokens: Int) -> Int {
        let size = Int.random(in: 1...30, using: &random)
        return (tokens + size - 1) / size
      }
      let table = [blocks(tokens), blocks(keyTokens)]
      let shape = Bool.random(using: &random) ? table : [2] + table
      let numbers = (0..<shape.reduce(1, *)).map { _ in Int32.random(in: 0...1, using: &random) }
      return MaskTable(shape: shape, numbers: numbers)
    }

    var description: String {
      "seed \(seed): \(choice), \(inputs.batch) x \(inputs.tokens) of \(inputs.keyTokens)"
    }
  }

  @Test("what is written, promised and counted is what the definitions say, of any rectangle")
  func patterns() throws {
    for seed in 1...150 as ClosedRange<UInt64> {
      let drawn = Case(seed: seed)
      let (inputs, choice) = (drawn.inputs, drawn.choice)
      try choice.check(inputs)
      let pattern = choice.pattern(inputs)
      let bias = choice.bias(inputs)
      let (keys, queries) = (PositionRange(0..<inputs.keyTokens), PositionRange(0..<inputs.tokens))
      var pairs = 0
      for batch in 0..<inputs.batch {
        for head in 0..<2 {
          let defined = queries.flatMap { i in keys.map { Float(bias(batch, i, $0, head)) } }
          var written = [Float](repeating: .nan, count: defined.count)
          var span = written.mutableSpan
          pattern.fill(&span, keys: keys, queries: queries, batch: batch, head: head)
          #expect(written == defined, "\(drawn)")
          pairs += defined.count { $0 == 0 }
        }
      }
      let shape = AttentionShape(
        batch: inputs.batch, queryHeads: 2, kvHeads: 1, headDim: 8, valueHeadDim: 8)
      #expect(
        pattern.visiblePairs(keys: [keys], queries: [queries], shape: shape) == pairs, "\(drawn)")
      var random = MaskRandom(seed: seed)
      for _ in 0..<40 {
        check(pattern, bias, drawn, range(inputs.keyTokens, &random), range(inputs.tokens, &random))
      }
    }
  }

  private func range(_ count: Int, _ random: inout MaskRandom) -> PositionRange {
    let start = Int.random(in: 0..<count, using: &random)
    let stride = Int.random(in: 1...4, using: &random)
    let most = (count - start + stride - 1) / stride
    return PositionRange(
      start: start, stride: stride, count: Int.random(in: 0...most, using: &random))
  }

  /// What is said of a rectangle is true of each sequence, and of all.
  private func check(
    _ pattern: any AttentionPattern, _ bias: (Int, Int, Int, Int) -> Double, _ drawn: Case,
    _ keys: PositionRange, _ queries: PositionRange
  ) {
    let common = pattern.coverage(keys: keys, queries: queries)
    for query in queries {
      let (batch, head) = (drawn.inputs.batch - 1, query % 2)
      guard let seen = pattern.visibleKeys(of: query, in: keys, batch: batch, head: head) else {
        continue
      }
      let defined = keys.map { bias(batch, query, $0, head) == 0 }
      #expect(defined == keys.indices.map(seen.contains), "\(drawn): \(query) of \(keys)")
    }
    checkNarrowing(pattern, drawn, keys, queries)
    for batch in 0..<drawn.inputs.batch {
      let head = batch % 2
      let seen = queries.reduce(0) { sum, i in
        sum + keys.count { bias(batch, i, $0, head) == 0 }
      }
      let all = keys.count * queries.count
      for coverage in [
        common, pattern.coverage(keys: keys, queries: queries, batch: batch, head: head),
      ] {
        switch coverage {
        case .none: #expect(seen == 0, "\(drawn): \(keys) of \(queries)")
        case .all: #expect(seen == all && all > 0, "\(drawn): \(keys) of \(queries)")
        case .some: #expect(all > 0, "\(drawn): \(keys) of \(queries)")
        }
      }
    }
  }

  /// Asked of many queries at once, keys are those of each by itself, and no others than before.
  private func checkNarrowing(
    _ pattern: any AttentionPattern, _ drawn: Case, _ keys: PositionRange, _ queries: PositionRange
  ) {
    let (batch, head) = (drawn.inputs.batch - 1, 1)
    let before = 0..<(keys.count + 1) / 2
    var seen = [Range<Int>](repeating: before, count: queries.count)
    var span = seen.mutableSpan
    let knows = pattern.narrow(&span, to: keys, of: queries, batch: batch, head: head)
    let single = queries.map { pattern.visibleKeys(of: $0, in: keys, batch: batch, head: head) }
    #expect(knows == single.allSatisfy { $0 != nil }, "\(drawn): \(queries) of \(keys)")
    guard knows else { return }
    for (own, narrowed) in zip(single, seen) {
      #expect(
        keys.indices.filter(narrowed.contains)
          == keys.indices.filter { before.contains($0) && own?.contains($0) == true },
        "\(drawn): \(queries) of \(keys)")
    }
  }

  @Test("of documents one after the other, whatever their numbers, every rectangle is known")
  func sharp() {
    // Numbers that descend, and one sequence in which all is one document.
    let lengths = [17, 1, 60, 33, 9]
    let labels = lengths.enumerated().flatMap { [Int32](repeating: Int32(90 - $0), count: $1) }
    let pattern = SegmentPattern(queries: [labels, labels.map { _ in 4 }])
    var random = MaskRandom(seed: 1)
    for _ in 0..<2000 {
      var (keys, queries) = (range(120, &random), range(120, &random))
      keys = PositionRange(keys.start..<keys.start + keys.count)
      queries = PositionRange(queries.start..<queries.start + queries.count)
      if keys.isEmpty || queries.isEmpty { continue }
      let seen = queries.reduce(0) { sum, i in sum + keys.count { labels[i] == labels[$0] } }
      let expected: Coverage = seen == 0 ? .none : seen == keys.count * queries.count ? .all : .some
      #expect(pattern.coverage(keys: keys, queries: queries, batch: 0, head: 0) == expected)
      #expect(pattern.coverage(keys: keys, queries: queries, batch: 1, head: 0) == .all)
      #expect(pattern.coverage(keys: keys, queries: queries) == (expected == .all ? .all : .some))
    }
    // Of queries and of keys two numbers a document, and one for 64 tokens.
    #expect(pattern.byteCount == 2 * ((5 + 1) * 8 + 2 * 2 * 4))
  }

  @Test("where neighbours differ, stretches that have nothing in common are found however long")
  func manyStretches() {
    // Pairs of numbers take turns for eight tokens, then the next pair: a stretch a token.
    let tokens = 2003
    let labels = (0..<tokens).map { (token: Int) -> Int32 in
      let pair = token / 8 * 2
      return Int32(pair + token % 2)
    }
    let pattern = SegmentPattern(queries: [labels])
    var random = MaskRandom(seed: 7)
    var hidden = 0
    for _ in 0..<4000 {
      let ends = (0..<4).map { _ in Int.random(in: 0...tokens, using: &random) }
      let keys = PositionRange(min(ends[0], ends[1])..<max(ends[0], ends[1]))
      let queries = PositionRange(min(ends[2], ends[3])..<max(ends[2], ends[3]))
      guard let firstKey = keys.first, let lastKey = keys.last, let firstQuery = queries.first,
        let lastQuery = queries.last
      else { continue }
      let isHidden = firstKey / 8 > lastQuery / 8 || firstQuery / 8 > lastKey / 8
      let isSingle = keys.count == 1 && queries.count == 1
      if isHidden { hidden += 1 }
      if isSingle { continue }
      #expect(
        pattern.coverage(keys: keys, queries: queries, batch: 0, head: 0)
          == (isHidden ? .none : .some), "\(keys) of \(queries)")
    }
    #expect(hidden > 500)
    // Numbers that rise and fall again: what is largest may lie anywhere between the ends.
    let hump = (0..<tokens).map { (token: Int) -> Int32 in
      let pair = token < 1500 ? token / 8 : (3000 - token) / 8
      return Int32(2 * pair + token % 2)
    }
    let humped = SegmentPattern(queries: [hump])
    for _ in 0..<400 {
      let ends = (0..<2).map { _ in Int.random(in: 0...tokens, using: &random) }
      let keys = PositionRange(min(ends[0], ends[1])..<max(ends[0], ends[1]))
      let query = Int.random(in: 0..<tokens, using: &random)
      guard keys.contains(where: { hump[$0] == hump[query] }) else { continue }
      let row = PositionRange(query..<query + 1)
      #expect(
        humped.coverage(keys: keys, queries: row, batch: 0, head: 0) != .none, "\(keys), \(query)")
    }
    // Eight bytes a stretch, for queries and for keys, and the extremes.
    #expect(pattern.byteCount < 2 * 10 * tokens)
  }

  @Test("numbers that mean nothing are refused with the reason")
  func refused() {
    func words(
      _ mask: any Mask, _ tables: [String: ([Int], [Int32])], tokens: Int = 4, keyTokens: Int = 4
    ) -> String {
      let inputs = MaskInputs(
        batch: 2, tokens: tokens, keyTokens: keyTokens,
        tables: tables.mapValues { MaskTable(shape: $0.0, numbers: $0.1) })
      do {
        try mask.check(inputs)
        return "accepted"
      } catch { return "\(error)" }
    }
    let eight = [Int32](repeating: 1, count: 8)
    #expect(words(SegmentMask(), ["segment_ids": ([2, 4], eight)]) == "accepted")
    #expect(words(SegmentMask(), ["segment_ids": ([8], eight)]).contains("here [2, 4]"))
    #expect(
      words(SegmentMask(), ["segment_ids": ([2, 4], eight)], keyTokens: 6)
        .contains("4 queries and 6 keys, and no key_segment_ids"))
    #expect(
      words(
        SegmentMask(), ["segment_ids": ([2, 4], eight), "key_segment_ids": ([2, 4], eight)],
        keyTokens: 6
      ).contains("[batch, keyTokens], a number for each key, here [2, 6]"))
    func starts(_ numbers: [Int32], keyTokens: Int = 4) -> String {
      words(
        SegmentMask(.starts), ["cu_seqlens": ([numbers.count], numbers)], keyTokens: keyTokens)
    }
    #expect(starts([0, 2, 2, 4]) == "accepted")
    #expect(starts([0, 4], keyTokens: 6).contains("with --segments"))
    #expect(starts([1, 4]).contains("begin with 0"))
    #expect(starts([0, 3, 2, 4]).contains("cu_seqlens[2] is 2, less than 3"))
    #expect(starts([0, 3]).contains("ends with 3, and there are 4 tokens"))
    #expect(starts([]).contains("[documents + 1]"))
    #expect(words(PaddingMask(), ["key_padding_mask": ([2, 4], eight)]) == "accepted")
    #expect(words(PaddingMask(), ["key_padding_mask": ([4, 2], eight)]).contains("here [2, 4]"))
    #expect(
      words(PaddingMask(), ["key_padding_mask": ([2, 4], [1, 1, 1, 1, 0, 3, 1, 1])])
        .contains("key_padding_mask[1, 1] is 3"))
    #expect(
      words(ParallelWindowMask(), ["segment_ids": ([2, 4], [0, 0, -1, -1, 0, -2, -1, -1])])
        .contains("segment_ids[1, 1] is -2"))
    #expect(words(StarMask(), [:], keyTokens: 6).contains("4 queries and 6 keys"))
    func table(_ shape: [Int], _ number: Int32 = 1) -> String {
      words(
        BlockMask(path: ""),
        ["block_mask": (shape, .init(repeating: number, count: shape.reduce(1, *)))],
        tokens: 10, keyTokens: 7)
    }
    #expect(table([4, 3]) == "accepted")
    #expect(table([1, 4, 3]) == "accepted")
    #expect(table([2, 4, 3]).contains("with 1 heads"))
    #expect(table([12]).contains("[blocks, keyBlocks]"))
    #expect(table([6, 3]).contains("6 blocks of queries, and 10 queries are 5 blocks of 2"))
    #expect(table([4, 6]).contains("6 blocks of keys, and 7 keys are 4 blocks of 2"))
    #expect(table([4, 3], 2).contains("has a 2"))
  }

  @Test("positions begin anew in each window, and the task goes on after the longest")
  func windowPositions() {
    let inputs = MaskInputs(
      batch: 1, tokens: 3, keyTokens: 8,
      tables: [
        "segment_ids": MaskTable(shape: [1, 3], numbers: [-1, -1, -1]),
        "key_segment_ids": MaskTable(shape: [1, 8], numbers: [4, 4, 4, 0, 7, 7, -1, -1]),
      ])
    let left = ParallelWindowMask(.left).positions(inputs)
    #expect(left.keys == [[0, 1, 2, 0, 0, 1, 3, 4]])
    #expect(left.queries == [[1, 3, 4]])
    #expect(ParallelWindowMask.structured.positions(inputs).keys == [[0, 1, 2, 2, 1, 2, 3, 4]])
  }

  @Test("structured prompting's golden value, by the kernels and by the oracle")
  func structured() {
    // Causal, six tokens of one head: windows [0] [1 2] [3], the task is 4 and 5.
    var problem = Problem(tokens: 6, headDim: 4)
    func sines(_ a: Double, _ b: Double) -> [Float] {
      (0..<24).map { Float(sin(a * Double($0) + b)) }
    }
    (problem.q, problem.k, problem.v) = (sines(0.37, 0.1), sines(0.53, 0.2), sines(0.71, 0.3))
    problem.scale = 0.5
    let windows: [Int32] = [0, 1, 1, 2, -1, -1]
    let inputs = MaskInputs(
      tokens: 6, keyTokens: 6,
      tables: ["segment_ids": MaskTable(shape: [1, 6], numbers: windows)])
    let choice = PatternChoice([CausalMask(), ParallelWindowMask.structured])
    problem.scoreRule = choice.scoreRule(inputs)
    problem.referenceRule = ReferenceOwnKeyWeight(windows: [windows.map { Int($0) }])
    let golden = [0.11204727, 0.13555828, 0.09355719, 0.00634213]
    let o = problem.computed(pattern: choice.pattern(inputs)).o
    let (q, k, v) = (
      problem.q.map(Double.init), problem.k.map(Double.init), problem.v.map(Double.init)
    )
    let expected = problem.oracle(q: q, k: k, v: v, bias: choice.bias(inputs)).o
    for column in 0..<4 {
      #expect(abs(Double(o[20 + column]) - golden[column]) < 1e-6)
      #expect(abs(expected[20 + column] - golden[column]) < 1e-6)
    }
    // The derivative is 1 where weights are added and where they are not.
    let gradients = problem.computedGradients(pattern: choice.pattern(inputs))
    let wanted = problem.oracle.gradients(
      q: q, k: k, v: v, outputGradient: problem.outputGradient.map(Double.init),
      bias: choice.bias(inputs))
    #expect(relativeError(gradients.dq, wanted.dq) < 1e-5)
    #expect(relativeError(gradients.dk, wanted.dk) < 1e-5)
  }
}
