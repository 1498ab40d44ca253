import Attention
import AttentionTypes
import KernelSets
import Testing

/// Computes with the kernels of every instruction set that this processor has, the least first, and
/// expects the same bits of all of them.
///
/// What is then held to the oracle holds for every set.
func onEverySet(
  _ compute: (InstructionSet) -> [[Float]], sourceLocation: SourceLocation = #_sourceLocation
) -> [[Float]] {
  let sets = InstructionSet.ofThisProcessor
  let first = compute(sets[0])
  for set in sets.dropFirst() {
    let others = compute(set)
    let isSame =
      first.count == others.count
      && zip(first, others).allSatisfy { same($0.map(\.bitPattern), $1.map(\.bitPattern)) }
    #expect(isSame, "\(set) and \(sets[0]) differ", sourceLocation: sourceLocation)
  }
  return first
}

@Suite("Instruction sets of kernels")
struct KernelSetTests {
  @Test("what this processor has is what tests run on, the least first")
  func ofThisProcessor() {
    #expect(InstructionSet.ofThisProcessor.first == InstructionSet.required)
    #expect(InstructionSet.ofThisProcessor.last == InstructionSet.inUse)
  }

  @Test("different sets compute different things, or the agreement would show nothing")
  func setsAreDistinguished() {
    let results = InstructionSet.ofThisProcessor.map { set in
      let peak = (0..<5).map { _ in MultiplyAddPeak.flopsPerSecond(set) }.max() ?? 0
      return (set, set.kernels.instructions, set.kernels.productPanelWidth, peak)
    }
    for (set, own, width, peak) in results {
      #expect(own == set)
      #expect(width == (set == .avx512 || set == .avx512bf16 ? 32 : 16))
      #expect(peak > 1e9)
    }
  }
}
