import Compute
import Glibc
import Testing

@Suite("tanh")
struct TanhTests {
  @Test func accuracyOfEverySize() {
    var worst = 0.0
    for step in 0..<200_000 {
      let x = Float(exp2(Double(step) / 5_000 - 35))
      let exact = Glibc.tanh(Double(x))
      let result = Compute.tanh(Vector(repeating: x))
      worst = max(worst, abs(Double(result[3]) - exact) / exact)
      if x > 64 { #expect(result[3] == 1) }
    }
    #expect(worst < 3e-7)
  }

  @Test func isOddAndEndsAtOne() {
    for x: Float in [0, 1e-30, 0.3, 2, 7.9, 8, 100, .greatestFiniteMagnitude, .infinity] {
      let (plus, minus) = (Compute.tanh(Vector(repeating: x)), Compute.tanh(Vector(repeating: -x)))
      #expect(plus == 0 - minus)
      #expect(x < 8 || plus == Vector(repeating: 1))
    }
    #expect(Compute.tanh(Vector(repeating: 0)) == Vector())
  }
}
