import Compute
import Glibc
import Kernels
import Testing

#if arch(x86_64)
  import KernelsAVX512
#endif

@Suite("exp2")
struct Exp2Tests {
  /// One lane of what each set's kernels compute; all lanes have to be the same.
  private func results(_ x: Float) -> [Float] {
    let first = Kernels.exp2(Kernels.Vector(repeating: x))
    #expect(first == Kernels.Vector(repeating: first[0]))
    var results = [first[0]]
    #if arch(x86_64)
      if InstructionSet.ofThisProcessor.contains(.avx512) {
        let wide = KernelsAVX512.exp2(KernelsAVX512.Vector(repeating: x))
        #expect(wide == KernelsAVX512.Vector(repeating: wide[0]))
        results.append(wide[0])
      }
    #endif
    return results
  }

  @Test func accuracy() {
    var worst = 0.0
    for step in 0..<20_000 {
      let x = -Float(step) * 0.006_3
      let exact = Glibc.exp2(Double(x))
      for result in results(x) { worst = max(worst, abs(Double(result) - exact) / exact) }
    }
    #expect(worst < 1.6e-7)
  }

  @Test func exactPoints() {
    let points: [(Float, Float)] = [
      (0, 1), (-1, 0.5), (-2, 0.25), (-3, 0.125), (-126, 0x1p-126), (-126.5, 0), (-1e30, 0),
      (-.infinity, 0),
    ]
    for (x, expected) in points { #expect(results(x).allSatisfy { $0 == expected }) }
  }
}
