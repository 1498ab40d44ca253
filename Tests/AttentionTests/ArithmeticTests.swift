import Attention
import AttentionReference
import Sharding
import Tensors
import Testing

/// Products of bf16 pairs, on every instruction set.
///
/// Those that have the instructions and those that emulate them give the same bits, which
/// `computed` expects of all problems here. Tiles are held to the oracle by themselves.
@Suite("bf16 arithmetic against the oracle of rounded inputs")
struct ArithmeticTests {
  /// Weights are rounded to 8 bits, and their common error is taken out again.
  private static let tolerance = 3e-3
  /// Weights and gradients of scores are rounded.
  private static let gradientTolerance = 8e-3

  private func causalBias(_ offset: Int) -> (Int, Int, Int) -> Double {
    { i, j, _ in j <= i + offset ? 0 : -.infinity }
  }

  /// Holds both passes to the oracle, which is given inputs that plain code has rounded.
  private func expectClose(
    _ problem: Problem, _ pattern: any AttentionPattern, blocks: [[PositionRange]]? = nil,
    queryRuns: [PositionRange]? = nil, elementType: WireType = .f32, threads: Int = 1,
    bias: (_ i: Int, _ j: Int, _ h: Int) -> Double,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    var problem = problem
    problem.arithmetic = .bf16
    let rounded = problem.rounded
    let expected = rounded.expected(bias: bias)
    let exact = rounded.expectedGradients(bias: bias)
    for kernels in [nil] + kernelsOnTiles() {
      problem.kernels = kernels
      let name = Comment(rawValue: kernels.map { "\($0)" } ?? "vectors")
      let result = problem.computed(
        pattern: pattern, queryRuns: queryRuns, blocks: blocks, elementType: elementType,
        threads: threads)
      #expect(
        relativeError(result.o, expected.o) < Self.tolerance, name, sourceLocation: sourceLocation)
      #expect(
        relativeError(result.lse, expected.lse) < 1e-5, name, sourceLocation: sourceLocation)
      let gradients = problem.computedGradients(
        pattern: pattern, queryRuns: queryRuns, blocks: blocks, elementType: elementType,
        threads: threads)
      for (actual, expected) in [
        (gradients.dq, exact.dq), (gradients.dk, exact.dk), (gradients.dv, exact.dv),
      ] {
        #expect(
          relativeError(actual, expected) < Self.gradientTolerance, name,
          sourceLocation: sourceLocation)
      }
    }
  }

  @Test(
    "any head dim, causal and full",
    arguments: [1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 40, 63, 64, 65, 128, 256, 575, 576])
  func headDims(headDim: Int) {
    let problem = Problem(tokens: 53, headDim: headDim)
    expectClose(problem, FullPattern()) { _, _, _ in 0 }
    expectClose(problem, CausalPattern(), bias: causalBias(0))
  }

  @Test(
    "sizes around every tile edge",
    arguments: [1, 2, 5, 6, 7, 15, 16, 17, 31, 32, 33, 95, 96, 97, 143, 144, 145, 191, 193, 333])
  func tokenCounts(tokens: Int) {
    let problem = Problem(tokens: tokens, headDim: 20, valueHeadDim: 13)
    expectClose(problem, CausalPattern(), bias: causalBias(0))
  }

  @Test("grouped heads, batches, blocks, runs and threads", arguments: [(4, 4), (4, 2), (6, 1)])
  func heads(queryHeads: Int, kvHeads: Int) {
    let problem = Problem(
      batch: 2, tokens: 211, queryHeads: queryHeads, kvHeads: kvHeads, headDim: 18,
      valueHeadDim: 34)
    let runs = [PositionRange(101..<211), PositionRange(0..<101)]
    expectClose(
      problem, CausalPattern(), blocks: [[PositionRange(57..<211)], [PositionRange(0..<57)]],
      queryRuns: runs, elementType: .bf16, threads: 3, bias: causalBias(0))
  }

  @Test("masks, rows that see nothing, biases and score rules")
  func masks() {
    var problem = Problem(tokens: 150, queryHeads: 2, headDim: 24)
    for mask in [PredicateMask.scattered, .sinkAndWindow] {
      expectClose(problem, mask) { i, j, _ in mask.sees(i, j) ? 0 : -.infinity }
    }
    expectClose(problem, LinearBias()) { i, j, h in
      j <= i ? -Double(LinearBias.slope(h)) * Double(i - j) : -.infinity
    }
    problem.scoreRule = SoftCap(limit: 2)
    problem.referenceRule = ReferenceSoftCap(limit: 2)
    expectClose(problem, CausalPattern(), bias: causalBias(0))
    let late = CausalPattern(offset: -100)
    problem.arithmetic = .bf16
    let result = problem.computed(pattern: late)
    #expect(result.lse[..<100].allSatisfy { $0 == -.infinity })
    #expect(result.o[..<(100 * 24)].allSatisfy { $0 == 0 })
  }

  @Test("every wire; what is rounded to bf16 already is the same bits on a wire of bf16")
  func wires() {
    var problem = Problem(tokens: 97, headDim: 33, valueHeadDim: 40)
    problem.arithmetic = .bf16
    let narrow = problem.computed(pattern: CausalPattern(), elementType: .bf16)
    let wide = problem.computed(pattern: CausalPattern(), elementType: .f32)
    #expect(same(narrow.o, wide.o) && same(narrow.lse, wide.lse))
    for wire in [WireType.f16, .int8] {
      let expected = problem.rounded.expected(bias: causalBias(0))
      let result = problem.computed(pattern: CausalPattern(), elementType: wire)
      #expect(relativeError(result.o, expected.o) < 2e-2)
    }
  }

  @Test("where one key has all the weight its value comes out as in F32, and no gradient of scores")
  func oneKey() {
    var problem = Problem(tokens: 1, headDim: 33, valueHeadDim: 70)
    problem.arithmetic = .bf16
    let result = problem.computed(pattern: FullPattern())
    #expect(relativeError(result.o, problem.rounded.v.map(Double.init)) < 1e-7)
    let gradients = problem.computedGradients(pattern: FullPattern())
    let isSmall = gradients.dq.allSatisfy { abs($0) < 1e-5 }
    #expect(isSmall)
    #expect(same(gradients.dv, problem.rounded.outputGradient))
  }

  @Test("denormal and huge numbers, and scores that overflow, are the same bits on every set")
  func extremes() {
    for factor: Float in [1e-38, 1e-20, 1e18, 1e19] {
      var problem = Problem(tokens: 61, headDim: 17, valueHeadDim: 19)
      problem.arithmetic = .bf16
      problem.scale = 1 / Double(factor)
      for index in problem.k.indices { problem.k[index] *= factor }
      for index in problem.v.indices where index % 3 == 0 { problem.v[index] *= 1e-38 }
      for index in problem.outputGradient.indices where index % 2 == 0 {
        problem.outputGradient[index] *= Float.leastNormalMagnitude / 8
      }
      // The comparison is that of `onEverySet`.
      _ = problem.computed(pattern: CausalPattern())
      _ = problem.computedGradients(pattern: CausalPattern())
    }
    var problem = Problem(tokens: 40, headDim: 1, logits: 1.5e38)
    problem.arithmetic = .bf16
    let result = problem.computed(pattern: FullPattern())
    let isHidden = result.o.allSatisfy { $0.isFinite }
    #expect(!isHidden, "an overflow has been hidden")
  }

  @Test("reproducible sums are the same bits for every division among ranks")
  func reproducible() {
    var problem = Problem(tokens: 1700, queryHeads: 2, kvHeads: 1, headDim: 9, valueHeadDim: 20)
    problem.arithmetic = .bf16
    let one = problem.results(CausalPattern(), elementType: .bf16)
    for (layout, ranks) in [(Layout.contiguous, 2), (.zigzag, 3)] {
      let many = problem.results(
        CausalPattern(), layout: layout, ranks: ranks, first: 1, threads: 2, elementType: .bf16)
      #expect(same(many.bits, one.bits), "\(layout), \(ranks) ranks")
    }
    let rounded = problem.rounded.expected(bias: causalBias(0))
    #expect(relativeError(one.o, rounded.o) < Self.tolerance)
  }
}

extension Problem {
  /// The same with inputs that are bf16 numbers.
  fileprivate var rounded: Problem {
    var problem = self
    problem.arithmetic = .f32
    problem.q = q.map { Float(BFloat16($0)) }
    problem.k = k.map { Float(BFloat16($0)) }
    problem.v = v.map { Float(BFloat16($0)) }
    problem.outputGradient = outputGradient.map { Float(BFloat16($0)) }
    return problem
  }
}
