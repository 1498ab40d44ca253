import Attention
import AttentionReference
import Foundation
import Tensors
import Testing

@Suite("xPos")
struct XPosTests {
  /// `sin(a · flatIndex + b)`, the inputs of the published golden values.
  private func sines(_ count: Int, _ a: Double, _ b: Double) -> [Double] {
    (0..<count).map { sin(a * Double($0) + b) }
  }

  @Test("bases are the published ones")
  func bases() {
    let expected = [0.285714, 0.464286, 0.642857, 0.821429]
    for (base, expected) in zip(XPosDecay(.interleaved, columns: 8).bases, expected) {
      #expect(abs(base - expected) < 1e-6)
    }
  }

  @Test("causal attention over turned rows that decay gives the golden values")
  func golden() {
    let rotation = RotaryPositions(.interleaved, columns: 4, tokens: 6)
    let decay = XPosDecay(.interleaved, columns: 4)
    func rows(_ numbers: [Double], _ multiply: (inout Tensor<Float>) -> Void) -> [Double] {
      let plain = numbers.map { Float($0) }
      var tensor = Tensor<Float>(shape: [1, 6, 1, 4], buffer: AlignedBuffer(copying: plain.span))
      rotation.turn(&tensor, runs: [PositionRange(0..<6)])
      multiply(&tensor)
      return (0..<24).map { Double(tensor.span[$0]) }
    }
    // Wherever the center is.
    for keys in [0..<6, 0..<4000] {
      let q = rows(sines(24, 0.37, 0.1)) {
        decay.multiplyQueries(&$0, meeting: keys) { _, row in row }
      }
      let k = rows(sines(24, 0.53, 0.2)) {
        decay.multiplyKeys(&$0, among: keys) { _, row in row }
      }
      let oracle = ReferenceAttention(
        tokens: 6, keyTokens: 6, headDim: 4, valueHeadDim: 4, scale: 0.5)
      let result = oracle(q: q, k: k, v: sines(24, 0.71, 0.3)) { i, j, _ in
        j <= i ? 0 : -.infinity
      }
      let expected = [0.14366871, 0.23779178, 0.21699572, 0.09133079]
      for (a, e) in zip(result.o[20...], expected) { #expect(abs(a - e) < 1e-6) }
    }
  }

  @Test("keys of other groups, and queries before a group, become 0")
  func groups() {
    let decay = XPosDecay(.half, columns: 2)
    var rows = Tensor<Float>(zeros: [1, 4, 1, 3])
    var numbers = rows.mutableSpan
    for index in 0..<12 { numbers[index] = 1 }
    decay.multiplyKeys(&rows, among: 3..<5) { _, row in row + 2 }
    #expect((0..<12).map { rows.span[$0] == 0 } == (0..<12).map { $0 < 3 || $0 >= 9 })
    decay.multiplyQueries(&rows, meeting: 4..<5) { _, row in row + 2 }
    #expect((0..<12).map { rows.span[$0] == 0 } == (0..<12).map { $0 < 6 || $0 >= 9 })
  }
}
