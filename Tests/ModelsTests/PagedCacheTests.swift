import Attention
import Foundation
import Models
import Sharding
import Tensors
import Testing

/// Pages of a cache on several ranks, all in this process, against attention over rows that lie one
/// after the other.
@Suite("Paged cache") struct PagedCacheTests {
  private static let shape = AttentionShape(
    batch: 1, queryHeads: 4, kvHeads: 2, headDim: 40, valueHeadDim: 40)

  /// Numbers from −1 to 1, the same at every run.
  struct Numbers {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func bits() -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33)
    }

    mutating func below(_ count: Int) -> Int { bits() % count }

    mutating func rows(_ count: Int) -> [Float] {
      (0..<count).map { _ in Float(bits()) / Float(1 << 30) - 1 }
    }
  }

  /// A sequence as it would lie in one piece: rows of all layers.
  struct Rows {
    var keys: [[Float]]
    var values: [[Float]]
    var count = 0
  }

  /// Softmax over the keys in Double, `[queryHeads, headDim]`.
  static func attention(
    _ query: [Float], _ rows: Rows, layer: Int, from first: Int = 0
  ) -> [Double] {
    let (d, width) = (shape.headDim, shape.kvHeads * shape.headDim)
    return (0..<shape.queryHeads).flatMap { head -> [Double] in
      let kv = head / (shape.queryHeads / shape.kvHeads)
      let scores = (first..<rows.count).map { key in
        (0..<d).reduce(0.0) {
          $0 + Double(query[head * d + $1])
            * Double(rows.keys[layer][key * width + kv * d + $1])
        } / Double(d).squareRoot()
      }
      let most = scores.max() ?? 0
      let weights = scores.map { exp($0 - most) }
      let sum = weights.reduce(0, +)
      return (0..<d).map { column in
        weights.enumerated().reduce(0.0) {
          $0 + $1.element
            * Double(rows.values[layer][(first + $1.offset) * width + kv * d + column])
        } / sum
      }
    }
  }

  /// The same calls on caches of several ranks.
  struct Ranks {
    let caches: [PagedCache]

    init(_ ranks: Int, type: CacheType = .f32, layers: Int = 2, pageTokens: Int = 16) {
      caches = (0..<ranks).map {
        PagedCache(
          shape: PagedCacheTests.shape, layers: layers, type: type, pageTokens: pageTokens,
          ranks: ranks, rank: $0)
      }
    }

    func all<Result: Equatable>(_ call: (PagedCache) -> Result) -> Result {
      let results = caches.map(call)
      precondition(results.allSatisfy { $0 == results[0] }, "ranks have other tables")
      return results[0]
    }

    /// What all ranks together find for a query at the end of a sequence.
    func attend(
      _ query: [Float], layer: Int, of sequence: PageTable.Sequence,
      pattern: any AttentionPattern = CausalPattern()
    ) -> [Float] {
      let shape = PagedCacheTests.shape
      let position = caches[0].table.tokens(of: sequence) - 1
      let outputs = caches.map { cache -> [(o: Float, lse: Float, head: Int)] in
        let queries = QueryShard(
          Tensor(
            shape: [1, 1, shape.queryHeads, shape.headDim],
            buffer: AlignedBuffer(copying: query.span)),
          runs: [PositionRange(position..<position + 1)])
        var state = ForwardAccumulator(
          shape: shape, tokens: 1, scale: 1 / Double(shape.headDim).squareRoot(),
          pattern: pattern)
        cache.attend(queries, layer: layer, of: sequence, to: &state)
        let output = state.finish()
        return (0..<query.count).map { index in
          let head = index / shape.headDim
          return (output.o.span[index], output.lse.span[head], head)
        }
      }
      return query.indices.map { index in
        let parts = outputs.map { $0[index] }
        let most = parts.map { Double($0.lse) }.max() ?? 0
        let weights = parts.map { $0.lse == -.infinity ? 0 : exp(Double($0.lse) - most) }
        let sum = zip(parts, weights).reduce(0.0) { $0 + Double($1.0.o) * $1.1 }
        return Float(sum / weights.reduce(0, +))
      }
    }
  }

  @Test(
    "random forks, appends and releases are attention over rows in one piece",
    arguments: [(1, CacheType.f32), (3, .f32), (2, .f16), (3, .bf16), (2, .int8), (2, .kivi4)])
  func randomSequences(_ ranks: Int, _ type: CacheType) {
    let (layers, page, width) = (2, 16, Self.shape.kvHeads * Self.shape.headDim)
    let all = Ranks(ranks, type: type, layers: layers, pageTokens: page)
    var numbers = Numbers(seed: UInt64(ranks * 10 + page))
    var expected: [PageTable.Sequence: Rows] = [:]
    let tolerances: [CacheType: Double] = [
      .f32: 1e-6, .f16: 2e-3, .bf16: 1e-2, .int8: 1.5e-2, .kivi4: 0.1,
    ]
    func table() -> PageTable { all.caches[0].table }
    func append(_ count: Int, to sequence: PageTable.Sequence, _ rows: inout Rows) {
      _ = all.all { cache -> Int in
        cache.append(count, to: sequence)
        return cache.table.tokens(of: sequence)
      }
      let run = PositionRange(start: rows.count, count: count)
      for layer in 0..<layers {
        let (keys, values) = (numbers.rows(count * width), numbers.rows(count * width))
        for cache in all.caches {
          cache.write(
            keys: keys.span, values: values.span, layer: layer, of: sequence, at: run)
        }
        rows.keys[layer] += keys
        rows.values[layer] += values
      }
      rows.count += count
    }
    func compare(_ sequence: PageTable.Sequence, _ rows: Rows) {
      let query = numbers.rows(Self.shape.queryHeads * Self.shape.headDim)
      let layer = numbers.below(layers)
      let found = all.attend(query, layer: layer, of: sequence)
      let oracle = Self.attention(query, rows, layer: layer)
      let error = zip(found, oracle).map { abs(Double($0) - $1) }.max() ?? 0
      let tolerance = tolerances[type] ?? 0
      #expect(error < tolerance, "\(type) on \(ranks) ranks, \(rows.count) tokens: \(error)")
    }
    let empty = Rows(
      keys: Array(repeating: [], count: layers), values: Array(repeating: [], count: layers))
    for step in 0..<150 {
      let known = expected.keys.sorted {
        table().allSequences.firstIndex(of: $0)! < table().allSequences.firstIndex(of: $1)!
      }
      let sequence = known.isEmpty ? nil : known[numbers.below(known.count)]
      switch numbers.below(8) {
      case 0 where known.count < 6, _ where sequence == nil:
        expected[all.all { $0.create() }] = empty
      case 1 where known.count < 6:
        // All of it, or its first tokens.
        let tokens = numbers.below(2) == 0 ? nil : numbers.below(expected[sequence!]!.count + 1)
        let fork = all.all { $0.fork(sequence!, tokens: tokens) }
        var rows = expected[sequence!]!
        rows.count = tokens ?? rows.count
        for layer in 0..<layers {
          rows.keys[layer] = Array(rows.keys[layer].prefix(rows.count * width))
          rows.values[layer] = Array(rows.values[layer].prefix(rows.count * width))
        }
        expected[fork] = rows
      case 2 where step % 3 == 0:
        all.caches.forEach { $0.release(sequence!) }
        expected[sequence!] = nil
      default:
        let count = 1 + numbers.below(numbers.below(3) == 0 ? 40 : 5)
        append(count, to: sequence!, &expected[sequence!]!)
      }
      for (sequence, rows) in expected where rows.count > 0 && step % 5 == 0 {
        compare(sequence, rows)
      }
      expectNothingLost(table(), expected.mapValues(\.count))
    }
    for (sequence, rows) in expected where rows.count > 0 { compare(sequence, rows) }
    for sequence in expected.keys { all.caches.forEach { $0.release(sequence) } }
    #expect(table().loads.allSatisfy { $0 == 0 })
    // All memory is there to be used again, and no more than was in use at once.
    for (rank, cache) in all.caches.enumerated() {
      let pages = cache.table.pageCount(of: rank)
      let bytes = PagedCache.byteCount(
        pages: pages, recent: pages, shape: Self.shape, layers: layers, type: type,
        pageTokens: page)
      #expect(cache.byteCount <= bytes)
    }
  }

  /// Pages in use are those that sequences name, and of each but the last all is used.
  private func expectNothingLost(
    _ table: PageTable, _ lengths: [PageTable.Sequence: Int]
  ) {
    var uses: [PageTable.Page: Int] = [:]
    for (sequence, length) in lengths {
      let entries = table.entries(of: sequence)
      for entry in entries { uses[entry.page, default: 0] += 1 }
      #expect(entries.flatMap { Array($0.positions) } == Array(0..<length))
      let wasted = entries.count * table.pageTokens - length
      #expect(wasted < table.pageTokens, "\(wasted) places of a sequence are wasted")
    }
    for (page, count) in uses { #expect(table.references(to: page) == count) }
    for rank in table.loads.indices {
      #expect(table.loads[rank] == uses.keys.count { $0.rank == rank })
    }
  }

  @Test("a prompt lies where its ranks have it, and what comes goes where least is")
  func places() {
    for (layout, tokens, ranks) in [
      (Layout.zigzag, 0, 3), (.zigzag, 117, 4), (.striped, 100, 3), (.contiguous, 7, 8),
      (.contiguous, 300, 2),
    ] {
      let prompt = Sharding(layout, tokens: tokens, ranks: ranks)
      for hidden in [0..<0, 4..<70] {
        var table = PageTable(pageTokens: 32, ranks: ranks)
        let sequence = table.create(prompt: prompt, hiding: hidden)
        #expect(
          table.loads == PageTable.pageCounts(of: prompt, pageTokens: 32, hiding: hidden))
        #expect(table.append(200, to: sequence).isEmpty)
        let entries = table.entries(of: sequence)
        let kept = entries.flatMap { Array($0.positions) }
        #expect(Set(kept).count == kept.count)
        #expect(Set(0..<tokens + 200).subtracting(kept).allSatisfy(hidden.contains))
        for entry in entries {
          for position in entry.positions where position < tokens {
            #expect(prompt.owner(of: position).rank == entry.page.rank)
          }
        }
        let ofPrompt = PageTable.pageCounts(of: prompt, pageTokens: 32, hiding: hidden)
        #expect(entries.count - ofPrompt.reduce(0, +) <= (200 + 31) / 32)
      }
    }
    var table = PageTable(pageTokens: 16, ranks: 3)
    let sequence = table.create()
    for token in 1...400 {
      _ = table.append(1, to: sequence)
      #expect((table.loads.max() ?? 0) - (table.loads.min() ?? 0) <= 1, "after \(token)")
    }
  }

  @Test("of four bits a channel's size does not matter to others, and the newest are as they were")
  func fourBits() {
    let (ranks, tokens, width) = (2, 300, Self.shape.kvHeads * Self.shape.headDim)
    let all = Ranks(ranks, type: .kivi4, layers: 1, pageTokens: 32)
    var numbers = Numbers(seed: 4)
    var rows = Rows(keys: [numbers.rows(tokens * width)], values: [numbers.rows(tokens * width)])
    var query = numbers.rows(Self.shape.queryHeads * Self.shape.headDim)
    // A channel of keys that is large in all tokens, and a token whose values are.
    for token in 0..<tokens {
      for head in 0..<2 { rows.keys[0][token * width + head * Self.shape.headDim + 3] *= 100 }
    }
    for head in 0..<Self.shape.queryHeads { query[head * Self.shape.headDim + 3] = 0 }
    for column in 0..<width { rows.values[0][40 * width + column] *= 100 }
    // Of a token's values 32 are rounded together, and others apart.
    for row in 0..<2 * tokens {
      for column in 32..<Self.shape.valueHeadDim {
        rows.values[0][row * Self.shape.valueHeadDim + column] += 2
      }
    }
    let prompt = Sharding(.zigzag, tokens: 150, ranks: ranks)
    let sequence = all.all { $0.create(prompt: prompt) }
    func write(_ run: PositionRange) {
      let range = run.start * width..<(run.start + run.count) * width
      let (keys, values) = (Array(rows.keys[0][range]), Array(rows.values[0][range]))
      for cache in all.caches {
        cache.write(keys: keys.span, values: values.span, layer: 0, of: sequence, at: run)
      }
    }
    for first in stride(from: 0, to: 150, by: 7) {
      write(PositionRange(first..<min(first + 7, 150)))
    }
    func error(window: Int) -> Double {
      let found = all.attend(
        query, layer: 0, of: sequence,
        pattern: IntersectedPattern([CausalPattern(), WindowPattern(width: window)]))
      let oracle = Self.attention(query, rows, layer: 0, from: rows.count - window)
      return zip(found, oracle).map { abs(Double($0) - $1) }.max() ?? 0
    }
    for first in stride(from: 150, to: tokens, by: 5) {
      for cache in all.caches { cache.append(5, to: sequence) }
      write(PositionRange(first..<first + 5))
      rows.count = first + 5
      // The newest 32 tokens are as they were.
      #expect(error(window: 32) < 1e-6, "at \(rows.count)")
    }
    // Each is half a step away at most, of 15 from the least to the largest.
    for token in 60..<70 {
      let found = all.attend(
        query, layer: 0, of: sequence, pattern: KeyRangePattern(token..<token + 1))
      for (head, group) in [(0, 0..<32), (1, 32..<40)] {
        let first = token * width + head * Self.shape.valueHeadDim
        let values = group.map { rows.values[0][first + $0] }
        let span = (values.max() ?? 0) - (values.min() ?? 0)
        for (column, value) in zip(group, values) {
          let output = found[2 * head * Self.shape.headDim + column]
          #expect(abs(output - value) < 1.01 * span / 30, "\(column) of \(token)")
        }
      }
    }
    // All but the token that is large.
    #expect((1e-5..<0.02).contains(error(window: 259)), "\(error(window: 259))")
  }

  @Test("a stream of a million tokens takes the memory of its window")
  func stream() {
    let (sinks, window, width) = (4, 70, Self.shape.kvHeads * Self.shape.headDim)
    let all = Ranks(2, layers: 1)
    let sequence = all.all { $0.create() }
    var numbers = Numbers(seed: 9)
    // Rows that come again after 1,010 tokens, so that an oracle can make them.
    let (keys, values) = (numbers.rows(1010 * width), numbers.rows(1010 * width))
    let query = numbers.rows(Self.shape.queryHeads * Self.shape.headDim)
    func row(_ rows: [Float], _ token: Int, _ count: Int = 1) -> Range<Int> {
      token % 1010 * width..<(token % 1010 + count) * width
    }
    let pattern = IntersectedPattern([
      CausalPattern(), UnitedPattern([WindowPattern(width: window), SinkPattern(count: sinks)]),
    ])
    var bytes: [Int] = []
    for first in stride(from: 0, to: 1_000_000, by: 10) {
      for cache in all.caches {
        cache.release(sinks..<max(sinks, first - window + 1), of: sequence)
        cache.append(10, to: sequence)
        cache.write(
          keys: keys.span.extracting(row(keys, first, 10)),
          values: values.span.extracting(row(values, first, 10)), layer: 0, of: sequence,
          at: PositionRange(first..<first + 10))
      }
      guard [0, 5, 9999].contains(first / 10 % 10_000) else { continue }
      bytes.append(all.caches.reduce(0) { $0 + $1.byteCount })
      let last = first + 9
      let found = all.attend(query, layer: 0, of: sequence, pattern: pattern)
      let start = max(0, last - window + 1)
      let seen = Array(0..<min(sinks, start)) + Array(start...last)
      let rows = Rows(
        keys: [seen.flatMap { keys[row(keys, $0)] }],
        values: [seen.flatMap { values[row(values, $0)] }], count: seen.count)
      let oracle = Self.attention(query, rows, layer: 0)
      let error = zip(found, oracle).map { abs(Double($0) - $1) }.max() ?? 0
      #expect(error < 1e-6, "at token \(last): \(error)")
    }
    let page = PagedCache.byteCount(
      pages: 1, recent: 1, shape: Self.shape, layers: 1, type: .f32, pageTokens: 16)
    // The window, a page that it has begun to leave, one that is being filled, and the sinks'.
    #expect(bytes.allSatisfy { $0 <= (window / 16 + 4) * page }, "\(bytes)")
  }
}
