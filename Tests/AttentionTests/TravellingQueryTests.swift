import Attention
import Tensors
import Testing

extension Problem {
  /// What shards of keys find out about queries that come by, each by itself, merged in some order.
  ///
  /// - Parameters:
  ///   - shards: of the keys.
  ///   - order: in which their results are merged, numbers of shards.
  fileprivate func resultsByQueries(
    _ pattern: any AttentionPattern, queryRuns: [PositionRange], shards: [[PositionRange]],
    order: [Int], parts: [BlockPart] = [.whole], accumulation: Accumulation = .fast,
    elementType: WireType = .f32
  ) -> Results {
    let computation = BlockComputation(
      shape: shape, scale: scale, pattern: pattern, scoreRule: scoreRule,
      accumulation: accumulation)
    let queries = queryShard(runs: queryRuns)
    let tokens = queries.tokens
    let block = Memory(QueryBlock.byteCount(tokens: tokens, shape: shape, pass: .backward))
    var travelling = unsafe QueryBlock(
      shape: shape, runs: queryRuns, pass: .forward, memory: block.bytes)
    travelling.load(queries)

    let room = ForwardPartial.byteCount(tokens: tokens, shape: shape, accumulation: accumulation)
    let memories = [Memory(room), Memory(room)]
    func partial(_ index: Int) -> ForwardPartial {
      unsafe ForwardPartial(
        shape: shape, tokens: tokens, memory: memories[index].bytes, accumulation: accumulation)
    }
    var sum = partial(0)
    sum.clear()
    for shard in order {
      var other = partial(1)
      other.clear()
      for part in parts {
        computation.attend(
          travelling, to: keyValueBlock(runs: shards[shard], elementType: elementType),
          addingTo: &other, part: part)
      }
      sum.add(other)
    }
    let output = sum.output()

    travelling = unsafe QueryBlock(
      shape: shape, runs: queryRuns, pass: .backward, memory: block.bytes)
    travelling.load(
      queries, output: output, outputGradient: outputGradientShard(runs: queryRuns))
    let gradientRoom = QueryGradient.byteCount(
      tokens: tokens, shape: shape, accumulation: accumulation)
    let gradientMemories = [Memory(gradientRoom), Memory(gradientRoom)]
    func gradient(_ index: Int) -> QueryGradient {
      unsafe QueryGradient(
        shape: shape, tokens: tokens, memory: gradientMemories[index].bytes,
        accumulation: accumulation)
    }
    var results = Results(
      o: nan(output.o.count), lse: output.lse.span.indices.map { output.lse.span[$0] },
      dq: nan(q.count),
      dk: nan(k.count), dv: nan(v.count))
    var dq = gradient(0)
    dq.clear()
    for shard in order {
      var other = gradient(1)
      other.clear()
      let runs = shards[shard]
      let keys = keyValueBlock(runs: runs, elementType: elementType)
      var ofKeys = KeyValueGradient(
        shape: shape, keys: keys.keyCount, accumulation: accumulation)
      for part in parts {
        computation.addGradients(travelling, and: keys, to: &other, and: &ofKeys, part: part)
      }
      dq.add(other)
      scatter(ofKeys.dk(), runs: runs, tokens: keyTokens, into: &results.dk)
      scatter(ofKeys.dv(), runs: runs, tokens: keyTokens, into: &results.dv)
    }
    scatter(output.o, runs: queryRuns, tokens: self.tokens, into: &results.o)
    scatter(dq.dq(scale: scale), runs: queryRuns, tokens: self.tokens, into: &results.dq)
    // Nothing that lies in memory keeps it.
    withExtendedLifetime((block, memories, gradientMemories)) {}
    return results
  }
}

/// Memory in which blocks lie, full of something that is not zero.
private final class Memory {
  private let buffer: AlignedBuffer<UInt8>

  init(_ byteCount: Int) {
    buffer = AlignedBuffer(repeating: 0x7F, count: byteCount)
  }

  @unsafe var bytes: UnsafeMutableRawBufferPointer { unsafe buffer.unsafeMutableBytes }
}

@Suite("Queries that travel past keys")
struct TravellingQueryTests {
  private func shards(_ tokens: Int) -> [[PositionRange]] {
    [
      [PositionRange(0..<tokens / 3)], [],
      [PositionRange(tokens / 3..<tokens / 2), PositionRange(tokens - 5..<tokens)],
      [PositionRange(tokens / 2..<tokens - 5)],
    ]
  }

  private func expect(
    _ results: Results, of problem: Problem, _ bias: (Int, Int, Int) -> Double,
    tolerance: Double = 1e-5, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let forward = problem.expected(bias: bias)
    let backward = problem.expectedGradients(bias: bias)
    for (actual, expected) in [
      (results.o, forward.o), (results.lse, forward.lse), (results.dq, backward.dq),
      (results.dk, backward.dk), (results.dv, backward.dv),
    ] {
      #expect(relativeError(actual, expected) < tolerance, sourceLocation: sourceLocation)
    }
  }

  @Test(
    "merged results of key shards are the oracle's",
    arguments: [(1, 1), (4, 4), (4, 2), (6, 1)], [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]])
  func merged(heads: (Int, Int), order: [Int]) {
    let problem = Problem(
      batch: 2, tokens: 101, queryHeads: heads.0, kvHeads: heads.1, headDim: 18, valueHeadDim: 27)
    let runs = [PositionRange(0..<101)]
    for parts: [BlockPart] in [[.whole], [.secondHalf, .firstHalf]] {
      expect(
        problem.resultsByQueries(
          FullPattern(), queryRuns: runs, shards: shards(101), order: order, parts: parts),
        of: problem
      ) { _, _, _ in 0 }
      expect(
        problem.resultsByQueries(
          CausalPattern(), queryRuns: runs, shards: shards(101), order: order, parts: parts),
        of: problem
      ) { i, j, _ in j <= i ? 0 : -.infinity }
    }
  }

  @Test("rows that see nothing of some shards, or of any")
  func hidden() {
    let problem = Problem(tokens: 60, queryHeads: 2, kvHeads: 1, headDim: 16)
    let mask = PredicateMask(knowsCoverage: true) { i, j in i % 3 != 1 && i / 20 == j / 20 }
    for order in [[0, 1, 2, 3], [3, 1, 2, 0]] {
      let results = problem.resultsByQueries(
        mask, queryRuns: [PositionRange(0..<60)], shards: shards(60), order: order)
      expect(results, of: problem) { i, j, _ in mask.sees(i, j) ? 0 : -.infinity }
      for head in 0..<2 {
        for row in stride(from: 1, to: 60, by: 3) {
          #expect(results.lse[head * 60 + row] == -.infinity)
          for d in 0..<16 {
            #expect(results.o[(row * 2 + head) * 16 + d] == 0)
            #expect(results.dq[(row * 2 + head) * 16 + d] == 0)
          }
        }
      }
    }
  }

  @Test("maxima hundreds apart")
  func large() {
    var problem = Problem(tokens: 64, headDim: 16, logits: 10)
    // Scores of the last keys are far above the others', and of the first far below.
    for key in 0..<64 { for d in 0..<16 { problem.k[key * 16 + d] *= Float(key) / 16 } }
    for order in [[0, 2, 3, 1], [3, 2, 0, 1]] {
      expect(
        problem.resultsByQueries(
          FullPattern(), queryRuns: [PositionRange(0..<64)], shards: shards(64), order: order),
        of: problem, { _, _, _ in 0 }, tolerance: 1e-4)
    }
  }

  @Test("reproducible: the same bits as where keys travel, for any shards and order")
  func reproducible() {
    let leaf = Accumulation.reproducible.granularity
    let tokens = 2 * leaf + 50
    let problem = Problem(
      tokens: tokens, queryHeads: 2, kvHeads: 1, headDim: 20, valueHeadDim: 12)
    for pattern in [FullPattern(), CausalPattern()] as [any AttentionPattern] {
      let expected = problem.results(pattern).bits
      let shards = [
        [PositionRange(0..<leaf), PositionRange(2 * leaf..<tokens)], [],
        [PositionRange(leaf..<2 * leaf)],
      ]
      for order in [[0, 1, 2], [2, 1, 0]] {
        for parts: [BlockPart] in [[.whole], [.secondHalf, .firstHalf]] {
          let results = problem.resultsByQueries(
            pattern, queryRuns: [PositionRange(0..<tokens)], shards: shards, order: order,
            parts: parts, accumulation: .reproducible)
          #expect(same(results.bits, expected))
        }
      }
    }
  }

  @Test("bytes by the formulas")
  func byteCounts() {
    let shape = AttentionShape(
      batch: 3, queryHeads: 6, kvHeads: 2, headDim: 20, valueHeadDim: 12)
    let rows = 3 * 7 * 6
    #expect(QueryBlock.byteCount(tokens: 7, shape: shape, pass: .forward) == rows * 20 * 4)
    #expect(
      QueryBlock.byteCount(tokens: 7, shape: shape, pass: .backward)
        == rows * ((20 + 12) * 4 + 12))
    #expect(ForwardPartial.byteCount(tokens: 7, shape: shape) == rows * (12 + 2) * 4)
    #expect(
      ForwardPartial.byteCount(tokens: 7, shape: shape, accumulation: .reproducible)
        == rows * (13 * 16 + 16))
    #expect(QueryGradient.byteCount(tokens: 7, shape: shape) == rows * 20 * 4)
    #expect(
      QueryGradient.byteCount(tokens: 7, shape: shape, accumulation: .reproducible)
        == rows * (20 * 16 + 8))
  }
}
