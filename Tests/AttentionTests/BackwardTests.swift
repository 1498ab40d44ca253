import Attention
import AttentionReference
import Tensors
import Testing

/// Gradients by the kernels and by the oracle.
extension Problem {
  func expectedGradients(
    bias: (_ i: Int, _ j: Int, _ h: Int) -> Double
  ) -> (dq: [Double], dk: [Double], dv: [Double]) {
    oracle.gradients(
      q: q.map(Double.init), k: k.map(Double.init), v: v.map(Double.init),
      outputGradient: outputGradient.map(Double.init), bias: bias)
  }

  /// The kernels' gradients, in the order of global positions; every instruction set is asked.
  func computedGradients(
    pattern: any AttentionPattern, queryRuns: [PositionRange]? = nil,
    blocks: [[PositionRange]]? = nil, elementType: WireType = .f32, threads: Int = 1
  ) -> (dq: [Float], dk: [Float], dv: [Float]) {
    let queryRuns = queryRuns ?? [PositionRange(0..<tokens)]
    let blocks = blocks ?? [[PositionRange(0..<keyTokens)]]
    let team = ThreadTeam(threads: threads)
    let results = onKernels { kernels in
      let queries = queryShard(runs: queryRuns)
      let gradient = outputGradientShard(runs: queryRuns)
      let output = forward(
        pattern: pattern, queries: queries, blocks: blocks, elementType: elementType,
        kernels: kernels, team: team)
      var accumulator = BackwardAccumulator(
        computation(pattern, kernels: kernels, team: team), output: output,
        outputGradient: gradient)
      var dk = [Float](repeating: .nan, count: k.count)
      var dv = [Float](repeating: .nan, count: v.count)
      for runs in blocks {
        let block = keyValueBlock(runs: runs, elementType: elementType)
        var blockGradient = KeyValueGradient(shape: shape, keys: block.keyCount)
        accumulator.attend(
          queries, outputGradient: gradient, to: block, addingTo: &blockGradient)
        scatter(blockGradient.dk(), runs: runs, tokens: keyTokens, into: &dk)
        scatter(blockGradient.dv(), runs: runs, tokens: keyTokens, into: &dv)
      }
      var dq = [Float](repeating: .nan, count: q.count)
      scatter(accumulator.finish(), runs: queryRuns, tokens: tokens, into: &dq)
      return [dq, dk, dv]
    }
    return (results[0], results[1], results[2])
  }
}

@Suite("Blockwise backward against the oracle")
struct BackwardTests {
  private func causalBias(_ offset: Int) -> (Int, Int, Int) -> Double {
    { i, j, _ in j <= i + offset ? 0 : -.infinity }
  }

  private func expectClose(
    _ actual: (dq: [Float], dk: [Float], dv: [Float]),
    _ expected: (dq: [Double], dk: [Double], dv: [Double]), tolerance: Double = 1e-5,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(relativeError(actual.dq, expected.dq) < tolerance, sourceLocation: sourceLocation)
    #expect(relativeError(actual.dk, expected.dk) < tolerance, sourceLocation: sourceLocation)
    #expect(relativeError(actual.dv, expected.dv) < tolerance, sourceLocation: sourceLocation)
  }

  @Test("the oracle's gradients are those of central differences")
  func centralDifferences() {
    var problem = Problem(
      batch: 2, tokens: 5, keyTokens: 6, queryHeads: 4, kvHeads: 2, headDim: 3, valueHeadDim: 2)
    problem.scale = 0.7
    let bias: (Int, Int, Int) -> Double = { i, j, h in
      j <= i && i != 3 ? -0.1 * Double(h * (i - j)) : -.infinity
    }
    let oracle = problem.oracle
    let weights = problem.outputGradient.map(Double.init)
    let inputs = [problem.q, problem.k, problem.v].map { $0.map(Double.init) }
    func loss(_ inputs: [[Double]]) -> Double {
      zip(oracle(q: inputs[0], k: inputs[1], v: inputs[2], bias: bias).o, weights)
        .reduce(0) { $0 + $1.0 * $1.1 }
    }
    let gradients = problem.expectedGradients(bias: bias)
    for (which, gradient) in [gradients.dq, gradients.dk, gradients.dv].enumerated() {
      for index in gradient.indices {
        var (above, below) = (inputs, inputs)
        above[which][index] += 1e-5
        below[which][index] -= 1e-5
        let difference = (loss(above) - loss(below)) / 2e-5
        #expect(abs(difference - gradient[index]) < 1e-8)
      }
    }
  }

  @Test(
    "any head dim, causal and full",
    arguments: [1, 3, 4, 8, 15, 16, 17, 33, 40, 64, 80, 96, 128, 192, 255, 256, 257, 512, 575, 576])
  func headDims(headDim: Int) {
    let problem = Problem(tokens: 53, headDim: headDim)
    expectClose(
      problem.computedGradients(pattern: FullPattern()),
      problem.expectedGradients { _, _, _ in 0 })
    expectClose(
      problem.computedGradients(pattern: CausalPattern()),
      problem.expectedGradients(bias: causalBias(0)))
  }

  @Test("value head dim differs from head dim", arguments: [(576, 512), (576, 1), (1, 576)])
  func valueHeadDims(headDim: Int, valueHeadDim: Int) {
    let problem = Problem(tokens: 110, headDim: headDim, valueHeadDim: valueHeadDim)
    expectClose(
      problem.computedGradients(pattern: CausalPattern()),
      problem.expectedGradients(bias: causalBias(0)))
  }

  @Test(
    "sizes around every tile edge",
    arguments: [1, 2, 5, 6, 7, 15, 16, 17, 95, 96, 97, 191, 192, 193, 300])
  func tokenCounts(tokens: Int) {
    let problem = Problem(tokens: tokens, headDim: 20, valueHeadDim: 12)
    expectClose(
      problem.computedGradients(pattern: CausalPattern()),
      problem.expectedGradients(bias: causalBias(0)))
  }

  @Test("grouped-query attention and batches", arguments: [(1, 1), (4, 4), (4, 2), (6, 1)])
  func heads(queryHeads: Int, kvHeads: Int) {
    let problem = Problem(
      batch: 2, tokens: 101, queryHeads: queryHeads, kvHeads: kvHeads, headDim: 18)
    expectClose(
      problem.computedGradients(pattern: CausalPattern()),
      problem.expectedGradients(bias: causalBias(0)))
  }

  @Test("rows without keys and keys without rows have gradients of exactly zero")
  func deadRows() {
    let problem = Problem(tokens: 40, keyTokens: 10, headDim: 16)
    let few = problem.computedGradients(pattern: CausalPattern(offset: -30))
    expectClose(few, problem.expectedGradients(bias: causalBias(-30)))
    #expect(few.dq[..<(30 * 16)].allSatisfy { $0 == 0 })
    let unseen = Problem(tokens: 10, keyTokens: 200, headDim: 16)
    let many = unseen.computedGradients(pattern: CausalPattern(offset: 0))
    expectClose(many, unseen.expectedGradients(bias: causalBias(0)))
    #expect(many.dk[(10 * 16)...].allSatisfy { $0 == 0 })
    #expect(many.dv[(10 * 16)...].allSatisfy { $0 == 0 })
  }

  @Test("biases and masks of any form")
  func patterns() {
    let problem = Problem(tokens: 230, queryHeads: 2, kvHeads: 1, headDim: 16)
    expectClose(
      problem.computedGradients(pattern: LinearBias()),
      problem.expectedGradients { i, j, h in
        j <= i ? -Double(LinearBias.slope(h)) * Double(i - j) : -.infinity
      })
    for mask in [PredicateMask.scattered, .sinkAndWindow] {
      expectClose(
        problem.computedGradients(pattern: mask),
        problem.expectedGradients { i, j, _ in mask.sees(i, j) ? 0 : -.infinity })
    }
    // Rows that stand before the first key are not packed, and others see what they see.
    for before in [7, 20] {
      expectClose(
        problem.computedGradients(
          pattern: IntersectedPattern([
            CausalPattern(offset: -before), WindowPattern(width: 28, offset: -before),
          ])),
        problem.expectedGradients { i, j, _ in
          (0..<28).contains(i - before - j) ? 0 : -.infinity
        })
    }
  }

  @Test("logits a hundred times larger")
  func largeLogits() {
    let problem = Problem(tokens: 150, headDim: 64, logits: 100)
    let expected = problem.expected(bias: causalBias(0))
    let largest = expected.lse.map { abs($0) }.max() ?? 0
    expectClose(
      problem.computedGradients(pattern: CausalPattern()),
      problem.expectedGradients(bias: causalBias(0)), tolerance: largest * 0x1p-24 * 4)
  }

  @Test("blocks in any order, runs of any stride")
  func blocks() {
    let problem = Problem(batch: 2, tokens: 301, queryHeads: 2, kvHeads: 1, headDim: 24)
    let expected = problem.expectedGradients(bias: causalBias(0))
    let striped = (0..<4).map {
      [PositionRange(start: $0, stride: 4, count: (301 - $0 + 3) / 4)]
    }
    let zigzag = [
      [PositionRange(250..<301), PositionRange(0..<50)], [],
      [PositionRange(50..<100), PositionRange(200..<250)], [PositionRange(100..<200)],
    ]
    for blocks in [zigzag, Array(striped.reversed())] {
      expectClose(
        problem.computedGradients(
          pattern: CausalPattern(), queryRuns: blocks.flatMap { $0 }, blocks: blocks), expected)
    }
  }

  @Test("the same bits for any number of threads", arguments: [2, 3, 8])
  func threads(threads: Int) {
    let problem = Problem(batch: 2, tokens: 400, queryHeads: 4, kvHeads: 2, headDim: 32)
    let one = problem.computedGradients(pattern: CausalPattern())
    let many = problem.computedGradients(pattern: CausalPattern(), threads: threads)
    #expect(one.dq == many.dq && one.dk == many.dk && one.dv == many.dv)
  }

  @Test("narrow blocks equal wide blocks of rounded inputs, bit for bit")
  func narrowBlocks() {
    var problem = Problem(tokens: 130, headDim: 40)
    problem.k = problem.k.map { Float(BFloat16($0)) }
    problem.v = problem.v.map { Float(BFloat16($0)) }
    let narrow = problem.computedGradients(pattern: CausalPattern(), elementType: .bf16)
    let wide = problem.computedGradients(pattern: CausalPattern())
    #expect(narrow.dq == wide.dq && narrow.dk == wide.dk && narrow.dv == wide.dv)
  }
}
