import Attention
import AttentionTypes
import KernelSets
import KernelsTileModel
import Testing

/// Computes with the kernels of every instruction set that this processor has, the least first, and
/// expects the same bits of all of them; tiles, which add in another order, are left out.
///
/// What is then held to the oracle holds for every set.
func onEverySet(
  _ compute: (any KernelSet.Type) -> [[Float]], sourceLocation: SourceLocation = #_sourceLocation
) -> [[Float]] {
  let sets = InstructionSet.ofThisProcessor.filter { $0 != .amx }
  let first = compute(sets[0].kernels)
  for set in sets.dropFirst() {
    let others = compute(set.kernels)
    let isSame =
      first.count == others.count
      && zip(first, others).allSatisfy { same($0.map(\.bitPattern), $1.map(\.bitPattern)) }
    #expect(isSame, "\(set) and \(sets[0]) differ", sourceLocation: sourceLocation)
  }
  return first
}

/// Kernels on tiles that can be tested here: with a model of the instructions wherever there are
/// vectors of 512 bits and products of pairs, and with the instructions where there are these.
func kernelsOnTiles() -> [any KernelSet.Type] {
  #if arch(x86_64)
    let sets = InstructionSet.ofThisProcessor
    return (sets.contains(.avx512bf16) ? [KernelsOnTiles<TileKernels>.self] : [])
      + (sets.contains(.amx) ? [InstructionSet.amx.kernels] : [])
  #else
    return []
  #endif
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
      #expect(width == (set == .avx2 || set == .neon ? 16 : 32))
      #expect(peak > 1e9)
    }
  }
}
