import Attention
import Glibc
import Tensors
import Testing

/// Few queries and many keys, as in decoding: all rows of a KV head are one tile, and threads share
/// the keys.
@Suite("Few query rows")
struct FewRowsTests {
  private struct Case: CustomStringConvertible {
    var tokens = 1
    var keys: Int
    var queryHeads = 1
    var kvHeads = 1
    var headDim: Int
    var valueHeadDim: Int?
    var batch = 1
    var threads = 2

    var problem: Problem {
      Problem(
        batch: batch, tokens: tokens, keyTokens: keys, queryHeads: queryHeads, kvHeads: kvHeads,
        headDim: headDim, valueHeadDim: valueHeadDim)
    }
    var description: String {
      "\(tokens) × \(keys), heads \(queryHeads)/\(kvHeads), \(headDim)/\(valueHeadDim ?? headDim)"
    }
  }

  /// Rows of a KV head from 1 to 17 and past what is few; keys around panels, tiles and leaves.
  private static let cases = [
    Case(keys: 1, headDim: 64, threads: 1),
    Case(keys: 15, headDim: 8, threads: 7),
    Case(keys: 16, headDim: 128, threads: 1),
    Case(keys: 2311, headDim: 64, threads: 7),
    Case(keys: 1536, headDim: 128, threads: 3),
    Case(tokens: 2, keys: 777, headDim: 40, valueHeadDim: 72),
    Case(keys: 965, queryHeads: 3, headDim: 64, batch: 2, threads: 3),
    Case(keys: 1000, queryHeads: 8, kvHeads: 2, headDim: 96, threads: 2),
    Case(keys: 801, queryHeads: 5, headDim: 33, valueHeadDim: 256, threads: 1),
    Case(tokens: 3, keys: 900, queryHeads: 4, kvHeads: 2, headDim: 128, threads: 7),
    Case(tokens: 7, keys: 769, headDim: 64, threads: 2),
    Case(keys: 1543, queryHeads: 8, headDim: 64, threads: 3),
    Case(tokens: 3, keys: 200, queryHeads: 3, headDim: 20, valueHeadDim: 12, batch: 3),
    Case(tokens: 5, keys: 1200, queryHeads: 4, kvHeads: 2, headDim: 80, threads: 2),
    Case(tokens: 11, keys: 500, headDim: 576, valueHeadDim: 512, threads: 1),
    Case(keys: 831, queryHeads: 12, headDim: 64, threads: 7),
    Case(tokens: 16, keys: 850, headDim: 16, threads: 3),
    Case(tokens: 17, keys: 850, headDim: 64, valueHeadDim: 1, threads: 2),
    Case(tokens: 12, keys: 400, queryHeads: 8, kvHeads: 2, headDim: 64, threads: 2),
    Case(tokens: 13, keys: 400, queryHeads: 8, kvHeads: 2, headDim: 64, threads: 3),
  ]

  /// The problem whose keys and values are what is left of them in a type.
  private func rounded(_ problem: Problem, _ elementType: WireType) -> Problem {
    func rounded(_ numbers: [Float], columns: Int) -> [Float] {
      switch elementType {
      case .f32: numbers
      case .f16: numbers.map { Float(Float16($0)) }
      case .bf16: numbers.map { Float(BFloat16($0)) }
      case .int8: Int8Rows.roundTrip(numbers, columns: columns)
      }
    }
    var result = problem
    result.k = rounded(problem.k, columns: problem.shape.headDim)
    result.v = rounded(problem.v, columns: problem.shape.valueHeadDim)
    return result
  }

  private func error(
    _ result: (o: [Float], lse: [Float]), _ expected: (o: [Double], lse: [Double])
  ) -> Double {
    max(relativeError(result.o, expected.o), relativeError(result.lse, expected.lse))
  }

  @Test("against the oracle", arguments: WireType.allCases)
  func oracle(elementType: WireType) {
    for test in Self.cases {
      let problem = test.problem
      let exact = rounded(problem, elementType)
      let offset = problem.keyTokens - problem.tokens
      for isCausal in [false, true] {
        let pattern: any AttentionPattern =
          isCausal ? CausalPattern(offset: offset) : FullPattern()
        let result = problem.computed(
          pattern: pattern, elementType: elementType, threads: test.threads)
        let expected = exact.expected { i, j, _ in isCausal && j > i + offset ? -.infinity : 0 }
        #expect(error(result, expected) < 1e-5, "\(test), causal \(isCausal)")
      }
    }
  }

  @Test("masks, biases and score rules of each head and batch", arguments: WireType.allCases)
  func masks(elementType: WireType) {
    // Queries in two runs, of which the second alone sees some of the keys' runs.
    let queryRuns = [PositionRange(0..<3), PositionRange(3..<5)]
    let keyRuns = [
      PositionRange(850..<1000), PositionRange(start: 4, stride: 2, count: 423),
      PositionRange(start: 3, stride: 2, count: 424), PositionRange(0..<3),
    ]
    var problem = Problem(
      batch: 2, tokens: 5, keyTokens: 1000, queryHeads: 6, kvHeads: 2, headDim: 32)
    let patterns: [(any AttentionPattern, (Int, Int, Int) -> Double)] = [
      (
        PredicateMask.scattered,
        { i, j, _ in PredicateMask.scattered.sees(i, j) ? 0 : -.infinity }
      ),
      (
        PredicateMask.sinkAndWindow,
        { i, j, _ in PredicateMask.sinkAndWindow.sees(i, j) ? 0 : -.infinity }
      ),
      (
        LinearBias(),
        { i, j, h in j <= i ? -Double(LinearBias.slope(h)) * Double(i - j) : -.infinity }
      ),
    ]
    for (pattern, bias) in patterns {
      for hasRule in [false, true] {
        problem.scoreRule = hasRule ? PlaceRule() : nil
        problem.referenceRule = hasRule ? ReferencePlaceRule() : nil
        for threads in [1, 3] {
          let result = problem.computed(
            pattern: pattern, queryRuns: queryRuns, blocks: [keyRuns], elementType: elementType,
            threads: threads)
          let expected = rounded(problem, elementType).expected(bias: bias)
          #expect(error(result, expected) < 1e-5, "\(type(of: pattern)), rule \(hasRule)")
        }
      }
    }
  }

  @Test("rows that see nothing")
  func blindRows() {
    let problem = Problem(tokens: 4, keyTokens: 900, queryHeads: 4, headDim: 64)
    let mask = PredicateMask(knowsCoverage: true) { i, j in i != 2 && j >= 300 && j < 310 * i }
    let result = problem.computed(pattern: mask, threads: 3)
    let expected = problem.expected { i, j, _ in mask.sees(i, j) ? 0 : -.infinity }
    #expect(error(result, expected) < 1e-5)
    for head in 0..<4 {
      #expect(result.lse[head * 4 + 2] == -.infinity && result.lse[head * 4] == -.infinity)
      #expect(result.o[(2 * 4 + head) * 64..<(2 * 4 + head + 1) * 64].allSatisfy { $0 == 0 })
    }
  }

  @Test("the same bits for any number of threads", arguments: [Accumulation.fast, .reproducible])
  func threads(accumulation: Accumulation) {
    let shapes = [
      Problem(tokens: 1, keyTokens: 5000, headDim: 64),
      // More leaves than there is room for.
      Problem(tokens: 1, keyTokens: 20_000, headDim: 8),
      Problem(batch: 2, tokens: 3, keyTokens: 2000, queryHeads: 4, kvHeads: 2, headDim: 40),
      // Too many rows to be few, and too few tiles for the threads.
      Problem(tokens: 100, keyTokens: 7000, headDim: 16),
      Problem(tokens: 300, keyTokens: 4000, queryHeads: 2, headDim: 16),
    ]
    for problem in shapes {
      let runs = [PositionRange(0..<problem.tokens)]
      // Runs that do not end with a panel, where any may.
      let blocks =
        accumulation == .fast
        ? [[PositionRange(0..<1013), PositionRange(1013..<problem.keyTokens)]]
        : [[PositionRange(0..<problem.keyTokens)]]
      let pattern = CausalPattern(offset: problem.keyTokens / 2)
      let results = [1, 2, 3, 7].map { threads in
        // The caller is late with its first unit, so that what others find out has to wait.
        var isFirst = true
        let output = problem.forward(
          pattern: pattern, queries: problem.queryShard(runs: runs), blocks: blocks,
          elementType: .f16, accumulation: accumulation, team: ThreadTeam(threads: threads)
        ) { scores in
          if isFirst, threads > 1 { usleep(20_000) }
          isFirst = false
        }
        return output.o.span.indices.map { output.o.span[$0].bitPattern }
          + output.lse.span.indices.map { output.lse.span[$0].bitPattern }
      }
      for other in results.dropFirst() { #expect(same(other, results[0]), "\(problem.tokens)") }
    }
  }

  @Test("reproducible bits of few rows are those among many", arguments: WireType.allCases)
  func reproducibleBits(elementType: WireType) {
    for (headDim, valueHeadDim) in [(64, 64), (20, 48), (128, 96), (33, 256)] {
      let problem = Problem(
        tokens: 120, keyTokens: 1700, queryHeads: 4, kvHeads: 2, headDim: headDim,
        valueHeadDim: valueHeadDim)
      let patterns: [any AttentionPattern] = [
        FullPattern(), CausalPattern(offset: 1580), LinearBias(), PredicateMask.scattered,
      ]
      for pattern in patterns {
        let many = bits(problem, pattern, 0..<120, elementType)
        for rows in [0..<1, 1..<3, 50..<53, 63..<68, 80..<91, 100..<120] {
          let few = bits(problem, pattern, rows, elementType)
          let width = 4 * valueHeadDim
          #expect(
            same(few.o, Array(many.o[rows.lowerBound * width..<rows.upperBound * width]))
              && same(few.lse, (0..<4).flatMap { head in rows.map { many.lse[head * 120 + $0] } }),
            "\(headDim), \(rows) of \(type(of: pattern))")
        }
      }
    }
  }

  private func bits(
    _ problem: Problem, _ pattern: any AttentionPattern, _ rows: Range<Int>,
    _ elementType: WireType
  ) -> (o: [UInt32], lse: [UInt32]) {
    var accumulator = ForwardAccumulator(
      shape: problem.shape, tokens: rows.count, scale: problem.scale, pattern: pattern,
      accumulation: .reproducible, team: ThreadTeam(threads: 2))
    accumulator.attend(
      problem.queryShard(runs: [PositionRange(rows)]),
      to: problem.keyValueBlock(
        runs: [PositionRange(0..<problem.keyTokens)], elementType: elementType))
    let output = accumulator.finish()
    return (
      output.o.span.indices.map { output.o.span[$0].bitPattern },
      output.lse.span.indices.map { output.lse.span[$0].bitPattern }
    )
  }

  @Test("int8 beyond what scales can be taken out of", arguments: [1e31, 1e15, 1e-25] as [Float])
  func magnitudes(size: Float) {
    var problem = Problem(tokens: 2, keyTokens: 300, queryHeads: 2, headDim: 64)
    problem.q = problem.q.map { $0 * size }
    problem.k = problem.k.map { $0 / size }
    problem.v = problem.v.map { $0 * size }
    let exact = rounded(problem, .int8)
    let result = problem.computed(pattern: FullPattern(), elementType: .int8)
    let expected = exact.expected { _, _, _ in 0 }
    #expect(relativeError(result.lse, expected.lse) < 1e-5)
    let unit = Double(size)
    #expect(
      relativeError(result.o.map { $0 / size }, expected.o.map { $0 / unit }) < 1e-5)
  }
}
