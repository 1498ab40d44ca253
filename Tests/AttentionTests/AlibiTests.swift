import Attention
import AttentionReference
import Tensors
import Testing

@Suite("ALiBi")
struct AlibiTests {
  @Test("slopes are the published ones, for any number of heads")
  func slopes() {
    #expect(Alibi.slopes(heads: 6) == [0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125])
    let twelve = (1...8).map { Float(sign: .plus, exponent: -$0, significand: 1) }
    #expect(Array(Alibi.slopes(heads: 12).prefix(8)) == twelve)
    for (slope, expected) in zip(
      Alibi.slopes(heads: 12).dropFirst(8), [0.707107, 0.353553, 0.176777, 0.088388] as [Float])
    {
      #expect(abs(slope - expected) < 1e-6)
    }
    for heads in 1...70 {
      let (own, twin) = (Alibi.slopes(heads: heads), ReferenceAlibi.slopes(heads: heads))
      #expect(own.count == heads)
      for (a, b) in zip(own, twin) { #expect(abs(Double(a) / b - 1) < 1e-6, "\(heads)") }
    }
  }

  @Test(
    "both passes are the oracle's, alone, after a soft cap, and with more keys than queries",
    arguments: [(275, 275, false), (275, 275, true), (40, 301, false), (7, 230, true)])
  func exact(tokens: Int, keyTokens: Int, isCapped: Bool) {
    var problem = Problem(
      batch: 2, tokens: tokens, keyTokens: keyTokens, queryHeads: 6, kvHeads: 2, headDim: 20)
    let offset = keyTokens - tokens
    let alibi = Alibi(slopes: Alibi.slopes(heads: 6), offset: offset)
    let twin = ReferenceAlibi(slopes: ReferenceAlibi.slopes(heads: 6), offset: offset)
    problem.scoreRule = isCapped ? RuleSequence([SoftCap(limit: 1.5), alibi]) : alibi
    problem.referenceRule =
      isCapped ? ReferenceRuleSequence([ReferenceSoftCap(limit: 1.5), twin]) : twin
    for isCausal in [false, true] {
      let pattern: any AttentionPattern = isCausal ? CausalPattern(offset: offset) : FullPattern()
      let bias = { (i: Int, j: Int, _: Int) in !isCausal || j <= i + offset ? 0 : -Double.infinity }
      let (expected, actual) = (problem.expected(bias: bias), problem.computed(pattern: pattern))
      #expect(relativeError(actual.o, expected.o) < 1e-5)
      #expect(relativeError(actual.lse, expected.lse) < 1e-5)
      let gradients = problem.expectedGradients(bias: bias)
      let computed = problem.computedGradients(pattern: pattern)
      #expect(relativeError(computed.dq, gradients.dq) < 1e-4)
      #expect(relativeError(computed.dk, gradients.dk) < 1e-4)
      #expect(relativeError(computed.dv, gradients.dv) < 1e-4)
    }
  }

  @Test(
    "positions come from tables, a row for each sequence: of any sign, repeated, past 2^24",
    arguments: [0, 1 << 40, -(1 << 33)])
  func tables(start: Int) throws {
    var problem = Problem(
      batch: 2, tokens: 61, keyTokens: 275, queryHeads: 6, kvHeads: 2, headDim: 20)
    // Documents of 50 tokens that begin at places of their own, and one token far away; queries
    // that stand before all keys.
    func table(_ tokens: Int, from start: Int) -> [[Int]] {
      (0..<2).map { batch in
        (0..<tokens).map { $0 == 7 ? start + 1 << 25 : start - 9 * batch + $0 % 50 + $0 / 50 * 31 }
      }
    }
    let (queries, keys) = (table(61, from: start - 30), table(275, from: start))
    problem.scoreRule = Alibi(
      slopes: Alibi.slopes(heads: 6),
      queries: try #require(TokenPositions(Array(queries.joined()), batch: 2)),
      keys: try #require(TokenPositions(Array(keys.joined()), batch: 2)))
    problem.referenceRule = ReferenceAlibi(
      slopes: ReferenceAlibi.slopes(heads: 6),
      positions: ReferenceTokenPositions(queries: queries, keys: keys))
    let expected = problem.expected { _, _, _ in 0 }
    let blocks = [
      [PositionRange(start: 0, stride: 2, count: 138)],
      [
        PositionRange(start: 1, stride: 4, count: 69),
        PositionRange(start: 3, stride: 4, count: 68),
      ],
    ]
    let actual = problem.computed(pattern: FullPattern(), blocks: blocks)
    #expect(relativeError(actual.o, expected.o) < 1e-5)
    #expect(relativeError(actual.lse, expected.lse) < 1e-5)
    let gradients = problem.expectedGradients { _, _, _ in 0 }
    let computed = problem.computedGradients(pattern: FullPattern())
    #expect(relativeError(computed.dq, gradients.dq) < 1e-4)
    #expect(relativeError(computed.dk, gradients.dk) < 1e-4)
  }

  @Test("a table spans less than 2^31; positions by index may stay where they have come to")
  func positions() {
    #expect(TokenPositions([0, 1 << 31 - 1], batch: 1) != nil)
    #expect(TokenPositions([0, 1 << 31], batch: 1) == nil)
    #expect(TokenPositions([.min, .max], batch: 1) == nil)
    let late = TokenPositions(offset: 5, last: 9)
    #expect((0..<7).map { late[3, $0] } == [5, 6, 7, 8, 9, 9, 9])
  }

  @Test("rules in a row give the same as rules that are compiled into one")
  func sequence() {
    var problem = Problem(tokens: 100, keyTokens: 100, queryHeads: 2, kvHeads: 1, headDim: 16)
    let (cap, alibi) = (SoftCap(limit: 1), Alibi(slopes: [0.5, 0.01]))
    problem.scoreRule = cap.then(alibi)
    let chained = problem.computedGradients(pattern: CausalPattern())
    problem.scoreRule = RuleSequence([cap, alibi])
    let sequence = problem.computedGradients(pattern: CausalPattern())
    #expect(relativeError(sequence.dq, chained.dq.map(Double.init)) < 1e-6)
    #expect(relativeError(sequence.dk, chained.dk.map(Double.init)) < 1e-6)
    // Also one vector at a time, as rules ask that go through each other.
    let place = ScorePlace(batch: 0, head: 1, query: 9, firstKey: 2, keyStride: 3, count: 2)
    let scores = Vector(repeating: 0.75)
    let (both, other) = (cap.then(SoftCap(limit: 2)), RuleSequence([cap, SoftCap(limit: 2)]))
    let (one, two) = (both.change(scores, at: place), other.change(scores, at: place))
    #expect(one.score[0] == two.score[0] && one.slope[0] == two.slope[0] && one.slope[0] < 0.6)
  }
}
