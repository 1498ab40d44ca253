import AttentionReference
import Glibc
import Testing

/// `sin(a · flatIndex + b)`, the inputs of the published golden values.
private func sines(_ count: Int, _ a: Double, _ b: Double) -> [Double] {
  (0..<count).map { sin(a * Double($0) + b) }
}

@Suite("The oracle against golden values computed elsewhere")
struct GoldenTests {
  private let oracle = ReferenceAttention(
    tokens: 6, keyTokens: 6, headDim: 4, valueHeadDim: 4, scale: 0.5)
  private let q = sines(24, 0.37, 0.1)
  private let k = sines(24, 0.53, 0.2)
  private let v = sines(24, 0.71, 0.3)

  private func expectClose(_ actual: ArraySlice<Double>, _ expected: [Double]) {
    #expect(actual.count == expected.count)
    for (a, e) in zip(actual, expected) { #expect(abs(a - e) < 6e-9) }
  }

  @Test func causal() {
    let result = oracle(q: q, k: k, v: v) { i, j, _ in j <= i ? 0 : -.infinity }
    expectClose(result.o[20...], [0.25278560, 0.18507664, 0.02792453, -0.14272284])
    expectClose(
      result.lse[...],
      [0.97202252, 1.37080375, 1.22578697, 1.64866392, 1.75167327, 2.27154568])
  }

  @Test func causalWithLinearBias() {
    let result = oracle(q: q, k: k, v: v) { i, j, _ in
      j <= i ? -0.5 * Double(i - j) : -.infinity
    }
    expectClose(result.o[20...], [0.22060600, 0.01118867, -0.20363587, -0.32004803])
    expectClose(result.lse[5...], [0.99635896])
  }

  @Test func dilatedBranches() {
    let oracle = ReferenceAttention(
      tokens: 8, keyTokens: 8, headDim: 4, valueHeadDim: 4, scale: 0.5)
    let dilation = ReferenceDilation(branches: [(4, 1), (8, 2)], isCausal: true) { _, rate in
      1 % rate
    }
    let result = oracle(
      q: sines(32, 0.37, 0.1), k: sines(32, 0.53, 0.2), v: sines(32, 0.71, 0.3)
    ) { i, j, h in dilation.bias(i, j, head: h) }
    expectClose(result.o[28...], [0.66971949, 0.37536370, -0.10039645, -0.52763738])
    expectClose(result.lse[7...], [2.49540663])
  }

  @Test func aRowWithoutKeysIsZero() {
    let result = oracle(q: q, k: k, v: v) { i, _, _ in i == 2 ? -.infinity : 0 }
    #expect(Array(result.o[8..<12]) == [0, 0, 0, 0])
    #expect(result.lse[2] == -.infinity)
    #expect(result.lse[3].isFinite)
  }

  @Test func partsOfARowCombine() {
    var whole = ReferenceRow(valueHeadDim: 2)
    var parts = [ReferenceRow(valueHeadDim: 2), ReferenceRow(valueHeadDim: 2)]
    let empty = ReferenceRow(valueHeadDim: 2)
    for j in 0..<7 {
      let score = sin(Double(j)) * 50
      let value = [cos(Double(j)), Double(j)]
      whole.add(score: score, value: value[...])
      parts[j % 2].add(score: score, value: value[...])
    }
    let combined = ReferenceRow.combine([parts[0].result, empty.result, parts[1].result])
    expectClose(combined.output[...], whole.result.output)
    #expect(abs(combined.logSumExp - whole.result.logSumExp) < 1e-12)
    let nothing = ReferenceRow.combine([empty.result, empty.result])
    #expect(nothing.output == [0, 0] && nothing.logSumExp == -.infinity)
  }
}
