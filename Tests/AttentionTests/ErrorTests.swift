import Attention
import Tensors
import Testing

/// The kernels' errors beside those of a plain implementation in the same precision.
@Suite("Errors against those of plain Float code")
struct ErrorTests {
  struct Case: Sendable, CustomStringConvertible {
    let tokens: Int
    let keyTokens: Int
    let queryHeads: Int
    let kvHeads: Int
    let headDim: Int

    var description: String {
      "\(tokens) × \(keyTokens) tokens, \(queryHeads)/\(kvHeads) heads, head dim \(headDim)"
    }
  }

  /// Hundreds of rows each: the largest error of a few is a matter of luck.
  static let cases = [
    Case(tokens: 1999, keyTokens: 1999, queryHeads: 1, kvHeads: 1, headDim: 4),
    Case(tokens: 301, keyTokens: 301, queryHeads: 4, kvHeads: 2, headDim: 4),
    Case(tokens: 700, keyTokens: 700, queryHeads: 2, kvHeads: 1, headDim: 64),
    Case(tokens: 257, keyTokens: 2011, queryHeads: 2, kvHeads: 2, headDim: 64),
    Case(tokens: 500, keyTokens: 500, queryHeads: 2, kvHeads: 1, headDim: 128),
    Case(tokens: 150, keyTokens: 1500, queryHeads: 4, kvHeads: 1, headDim: 128),
  ]

  /// The largest difference; infinite where one is not finite and should be.
  private func error(_ actual: [Float], _ exact: [Double]) -> Double {
    var largest = actual.count == exact.count ? 0 : Double.infinity
    for (a, e) in zip(actual, exact) where Double(a) != e {
      largest = a.isFinite && e.isFinite ? max(largest, abs(Double(a) - e)) : .infinity
    }
    return largest
  }

  private func expectNoWorse(
    _ name: String, _ actual: [Float], than plain: [Float], _ exact: [Double],
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let (own, others) = (error(actual, exact), error(plain, exact))
    #expect(others < .infinity, "\(name)", sourceLocation: sourceLocation)
    #expect(own <= 2 * others + 1e-6, "\(name): \(own), \(others)", sourceLocation: sourceLocation)
  }

  private func check(_ problem: Problem, pattern: any AttentionPattern, offset: Int?) {
    let sees: (Int, Int) -> Bool = { i, j in offset.map { j <= i + $0 } ?? true }
    let plain = PlainAttention(
      tokens: problem.tokens, keyTokens: problem.keyTokens,
      queryHeads: problem.shape.queryHeads, kvHeads: problem.shape.kvHeads,
      headDim: problem.shape.headDim, scale: Float(problem.scale), sees: sees)
    let bias: (Int, Int, Int) -> Double = { i, j, _ in sees(i, j) ? 0 : -.infinity }

    let exact = problem.expected(bias: bias)
    let computed = problem.computed(pattern: pattern)
    let written = plain.forward(q: problem.q, k: problem.k, v: problem.v)
    expectNoWorse("o", computed.o, than: written.o, exact.o)
    expectNoWorse("lse", computed.lse, than: written.lse, exact.lse)

    let exactGradients = problem.expectedGradients(bias: bias)
    let gradients = problem.computedGradients(pattern: pattern)
    let writtenGradients = plain.backward(
      q: problem.q, k: problem.k, v: problem.v, outputGradient: problem.outputGradient)
    expectNoWorse("dq", gradients.dq, than: writtenGradients.dq, exactGradients.dq)
    expectNoWorse("dk", gradients.dk, than: writtenGradients.dk, exactGradients.dk)
    expectNoWorse("dv", gradients.dv, than: writtenGradients.dv, exactGradients.dv)
  }

  @Test("at most twice as large, forward and backward", arguments: cases, [Float(1), 100])
  func twice(size: Case, logits: Float) {
    let problem = Problem(
      tokens: size.tokens, keyTokens: size.keyTokens, queryHeads: size.queryHeads,
      kvHeads: size.kvHeads, headDim: size.headDim, logits: logits)
    check(problem, pattern: FullPattern(), offset: nil)
    let offset = size.keyTokens - size.tokens
    check(problem, pattern: CausalPattern(offset: offset), offset: offset)
  }

  @Test(
    "a row that has seen nothing yet, or never will, makes no NaN",
    arguments: [Float(1), 100], [0, 3])
  func unseen(logits: Float, fewRows: Int) {
    // Every tile is asked for, whatever is in it: some rows see only keys past the first tiles,
    // some only keys in them, and every fifth none.
    let mask = PredicateMask(knowsCoverage: false) { i, j in
      i % 5 == 2 ? false : i % 2 == 0 ? j >= 450 : j < 30
    }
    let problem = Problem(
      tokens: 203, keyTokens: 600, queryHeads: 2, kvHeads: 1, headDim: 64, logits: logits)
    let bias: (Int, Int, Int) -> Double = { i, j, _ in mask.sees(i, j) ? 0 : -.infinity }
    let queryRuns =
      fewRows == 0
      ? [PositionRange(0..<203)] : [PositionRange(0..<fewRows), PositionRange(fewRows..<203)]
    // The blocks come in the order that leaves each kind of row without keys for longest.
    let blocks = [[PositionRange(450..<600)], [PositionRange(0..<450)]]
    for blocks in [blocks, blocks.reversed()] {
      let result = problem.computed(pattern: mask, queryRuns: queryRuns, blocks: blocks)
      let exact = problem.expected(bias: bias)
      let tolerance = logits == 1 ? 1e-5 : 3e-4
      #expect(relativeError(result.o, exact.o) < tolerance)
      #expect(relativeError(result.lse, exact.lse) < 1e-5)
      let gradients = problem.computedGradients(
        pattern: mask, queryRuns: queryRuns, blocks: blocks)
      let exactGradients = problem.expectedGradients(bias: bias)
      #expect(relativeError(gradients.dq, exactGradients.dq) < tolerance)
      #expect(relativeError(gradients.dk, exactGradients.dk) < tolerance)
      #expect(relativeError(gradients.dv, exactGradients.dv) < tolerance)
      for row in stride(from: 2, to: 203, by: 5) {
        #expect(result.lse[row] == -.infinity && result.lse[203 + row] == -.infinity)
        #expect(result.o[row * 128..<(row + 1) * 128].allSatisfy { $0 == 0 })
        #expect(gradients.dq[row * 128..<(row + 1) * 128].allSatisfy { $0 == 0 })
      }
    }
  }
}
