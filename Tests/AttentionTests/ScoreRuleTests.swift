import Attention
import AttentionReference
import Sharding
import Tensors
import Testing

@Suite("Score rules against the oracle")
struct ScoreRuleTests {
  private typealias Bias = (Int, Int, Int) -> Double
  private let causal: Bias = { i, j, _ in j <= i ? 0 : -.infinity }

  private func capped(_ problem: Problem, at limit: Float) -> Problem {
    with(problem, SoftCap(limit: limit), ReferenceSoftCap(limit: Double(limit)))
  }

  private func with(
    _ problem: Problem, _ rule: some ScoreRule, _ reference: some ReferenceScoreRule
  ) -> Problem {
    var problem = problem
    problem.scoreRule = rule
    problem.referenceRule = reference
    return problem
  }

  /// Both passes are the oracle's: outputs and log-sum-exps to 1e-5, gradients to 1e-4.
  private func expectExact(
    _ problem: Problem, _ pattern: any AttentionPattern, _ bias: Bias,
    blocks: [[PositionRange]]? = nil, tolerance: Double = 1e-5,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let expected = problem.expected(bias: bias)
    let queryRuns = blocks.flatMap { problem.tokens == problem.keyTokens ? $0.flatMap { $0 } : nil }
    let actual = problem.computed(pattern: pattern, queryRuns: queryRuns, blocks: blocks)
    #expect(relativeError(actual.o, expected.o) < tolerance, sourceLocation: sourceLocation)
    #expect(relativeError(actual.lse, expected.lse) < tolerance, sourceLocation: sourceLocation)
    let gradients = problem.expectedGradients(bias: bias)
    let computed = problem.computedGradients(
      pattern: pattern, queryRuns: queryRuns, blocks: blocks)
    for (name, pair) in [
      ("dq", (computed.dq, gradients.dq)), ("dk", (computed.dk, gradients.dk)),
      ("dv", (computed.dv, gradients.dv)),
    ] {
      let error = relativeError(pair.0, pair.1)
      #expect(error < 10 * tolerance, "\(name): \(error)", sourceLocation: sourceLocation)
    }
  }

  @Test("the oracle's gradients through a soft cap are those of central differences")
  func centralDifferences() {
    var problem = capped(
      Problem(batch: 2, tokens: 5, keyTokens: 6, queryHeads: 4, kvHeads: 2, headDim: 3), at: 1.5)
    problem.scale = 0.9
    let oracle = problem.oracle
    let weights = problem.outputGradient.map(Double.init)
    let inputs = [problem.q, problem.k, problem.v].map { $0.map(Double.init) }
    func loss(_ inputs: [[Double]]) -> Double {
      zip(oracle(q: inputs[0], k: inputs[1], v: inputs[2], bias: causal).o, weights)
        .reduce(0) { $0 + $1.0 * $1.1 }
    }
    let gradients = problem.expectedGradients(bias: causal)
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

  @Test("a soft cap of any size, full and causal", arguments: [0.01, 1, 5, 50, 1e6])
  func caps(limit: Float) {
    for headDim in [7, 64] {
      let problem = capped(
        Problem(tokens: 233, queryHeads: 2, kvHeads: 1, headDim: headDim, logits: 3), at: limit)
      expectExact(problem, FullPattern(), { _, _, _ in 0 })
      expectExact(problem, CausalPattern(), causal)
    }
  }

  @Test("a soft cap far above all scores changes nothing, one far below makes weights equal")
  func limits() {
    let plain = Problem(tokens: 100, headDim: 16)
    let expected = plain.expected(bias: causal)
    let high = capped(plain, at: 1e6).computed(pattern: CausalPattern())
    #expect(relativeError(high.o, expected.o) < 1e-5)
    var flat = plain
    flat.scale = 0
    let low = capped(plain, at: 1e-6).computed(pattern: CausalPattern())
    #expect(relativeError(low.o, flat.expected(bias: causal).o) < 1e-5)
  }

  @Test("masks of any form, and rows that see nothing")
  func masks() {
    let problem = capped(Problem(tokens: 230, queryHeads: 2, kvHeads: 1, headDim: 16), at: 2)
    for mask in [PredicateMask.scattered, .sinkAndWindow] {
      expectExact(problem, mask, { i, j, _ in mask.sees(i, j) ? 0 : -.infinity })
    }
    // What a pattern adds comes after the cap.
    expectExact(
      problem, LinearBias(),
      { i, j, h in j <= i ? -Double(LinearBias.slope(h)) * Double(i - j) : -.infinity })
    let dead = capped(Problem(tokens: 40, keyTokens: 10, headDim: 16), at: 2)
    let offset: Bias = { i, j, _ in j <= i - 30 ? 0 : -.infinity }
    expectExact(dead, CausalPattern(offset: -30), offset)
    let computed = dead.computed(pattern: CausalPattern(offset: -30))
    #expect(computed.o[..<(30 * 16)].allSatisfy { $0 == 0 })
    #expect(computed.lse[..<30].allSatisfy { $0 == -.infinity })
    let gradients = dead.computedGradients(pattern: CausalPattern(offset: -30))
    #expect(gradients.dq[..<(30 * 16)].allSatisfy { $0 == 0 })
  }

  @Test("few rows, which read keys in place", arguments: [1, 2, 4, 5])
  func fewRows(tokens: Int) {
    let problem = capped(
      Problem(tokens: tokens, keyTokens: 512, queryHeads: 2, kvHeads: 1, headDim: 32), at: 3)
    expectExact(problem, FullPattern(), { _, _, _ in 0 })
    expectExact(
      problem, CausalPattern(offset: 500), { i, j, _ in j <= i + 500 ? 0 : -.infinity })
  }

  @Test("sizes around every tile edge", arguments: [1, 5, 6, 7, 15, 17, 95, 97, 143, 145, 193])
  func tileEdges(tokens: Int) {
    expectExact(
      capped(Problem(tokens: tokens, headDim: 20, valueHeadDim: 12), at: 2), CausalPattern(),
      causal)
  }

  @Test("batches and heads that share keys", arguments: [(1, 1), (4, 2), (6, 1)])
  func heads(queryHeads: Int, kvHeads: Int) {
    expectExact(
      capped(
        Problem(batch: 2, tokens: 101, queryHeads: queryHeads, kvHeads: kvHeads, headDim: 18),
        at: 2),
      CausalPattern(), causal)
  }

  @Test("a rule is told head, sequence and positions, whatever the blocks and strides")
  func places() {
    let problem = with(
      Problem(batch: 2, tokens: 301, queryHeads: 2, kvHeads: 1, headDim: 24), PlaceRule(),
      ReferencePlaceRule())
    let striped = (0..<4).map {
      [PositionRange(start: $0, stride: 4, count: (301 - $0 + 3) / 4)]
    }
    let zigzag = [
      [PositionRange(250..<301), PositionRange(0..<50)], [],
      [PositionRange(50..<100), PositionRange(200..<250)], [PositionRange(100..<200)],
    ]
    for blocks in [striped, zigzag] {
      expectExact(problem, CausalPattern(), causal, blocks: blocks)
    }
    let few = with(
      Problem(batch: 2, tokens: 3, keyTokens: 256, queryHeads: 2, kvHeads: 1, headDim: 32),
      PlaceRule(), ReferencePlaceRule())
    expectExact(few, FullPattern(), { _, _, _ in 0 })
  }

  @Test("rules one after the other, and derivatives that differ from key to key")
  func chains() {
    let problem = Problem(batch: 2, tokens: 150, queryHeads: 2, kvHeads: 1, headDim: 24, logits: 2)
    let chain = SoftCap(limit: 2).then(PlaceRule())
    expectExact(
      with(problem, chain, ReferenceCappedPlaceRule(cap: ReferenceSoftCap(limit: 2))),
      CausalPattern(), causal)
    expectExact(with(problem, LeakyRule(), ReferenceLeakyRule()), CausalPattern(), causal)
  }

  @Test("the same bits for any number of threads")
  func threads() {
    let problem = capped(Problem(tokens: 700, queryHeads: 3, kvHeads: 1, headDim: 16), at: 2)
    let one = problem.computed(pattern: CausalPattern())
    let ofOne = problem.computedGradients(pattern: CausalPattern())
    let four = problem.computed(pattern: CausalPattern(), threads: 4)
    let ofFour = problem.computedGradients(pattern: CausalPattern(), threads: 4)
    #expect(same(one.o, four.o) && same(one.lse, four.lse))
    #expect(same(ofOne.dq, ofFour.dq) && same(ofOne.dk, ofFour.dk) && same(ofOne.dv, ofFour.dv))
  }

  @Test("reproducible sums: the same bits for any division, and the oracle's numbers")
  func reproducible() {
    let problem = capped(Problem(tokens: 1700, queryHeads: 2, kvHeads: 1, headDim: 16), at: 2)
    let one = problem.results(CausalPattern())
    let three = problem.results(CausalPattern(), layout: .zigzag, ranks: 3, first: 1, threads: 2)
    #expect(same(one.o, three.o) && same(one.lse, three.lse))
    #expect(same(one.dq, three.dq) && same(one.dk, three.dk) && same(one.dv, three.dv))
    let expected = problem.expected(bias: causal)
    let gradients = problem.expectedGradients(bias: causal)
    #expect(relativeError(one.o, expected.o) < 1e-5)
    #expect(relativeError(one.lse, expected.lse) < 1e-5)
    #expect(relativeError(one.dq, gradients.dq) < 1e-4)
    #expect(relativeError(one.dk, gradients.dk) < 1e-4)
    #expect(relativeError(one.dv, gradients.dv) < 1e-4)
  }
}
