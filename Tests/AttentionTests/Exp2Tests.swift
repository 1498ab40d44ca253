import Attention
import Glibc
import Testing

@Suite("exp2")
struct Exp2Tests {
  @Test func accuracy() {
    var worst = 0.0
    for step in 0..<200_000 {
      let x = -Float(step) * 0.000_63
      let exact = Glibc.exp2(Double(x))
      let result = Attention.exp2(Vector(repeating: x))
      worst = max(worst, abs(Double(result[5]) - exact) / exact)
    }
    #expect(worst < 1.6e-7)
  }

  @Test func exactPoints() {
    let points = Attention.exp2(Vector(0, -1, -2, -126, -126.5, -1e30, -.infinity, -3))
    #expect(points == Vector(1, 0.5, 0.25, 0x1p-126, 0, 0, 0, 0.125))
  }
}
