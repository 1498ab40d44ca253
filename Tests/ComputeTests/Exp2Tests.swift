import Compute
import Glibc
import Testing

@Suite("exp2")
struct Exp2Tests {
  @Test func accuracy() {
    var worst = 0.0
    for step in 0..<200_000 {
      let x = -Float(step) * 0.000_63
      let exact = Glibc.exp2(Double(x))
      let result = Compute.exp2(Vector(repeating: x))
      worst = max(worst, abs(Double(result[5]) - exact) / exact)
    }
    #expect(worst < 1.6e-7)
  }

  @Test func exactPoints() {
    let points: [(Float, Float)] = [
      (0, 1), (-1, 0.5), (-2, 0.25), (-3, 0.125), (-126, 0x1p-126), (-126.5, 0), (-1e30, 0),
      (-.infinity, 0),
    ]
    for (x, expected) in points {
      #expect(Compute.exp2(Vector(repeating: x)) == Vector(repeating: expected))
    }
  }
}
