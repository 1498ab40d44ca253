package import AttentionTypes
package import Compute
import Kernels

#if arch(x86_64)
  import KernelsAMX
  import KernelsAVX512
  import KernelsAVX512BF16
#endif

extension InstructionSet {
  /// The kernels that are compiled for it: the one place where a set's module is named.
  ///
  /// - Precondition: it is one of ``compiled``.
  package var kernels: any KernelSet.Type {
    switch self {
    #if arch(x86_64)
      case .avx2: Kernels.CompiledKernels.self
      case .avx512: KernelsAVX512.CompiledKernels.self
      case .avx512bf16: KernelsAVX512BF16.CompiledKernels.self
      case .amx: KernelsOnTiles<TileKernels>.self
    #else
      case .neon: Kernels.CompiledKernels.self
    #endif
    default: preconditionFailure("no kernels for \(self) in this program")
    }
  }
}

extension KernelSet {
  /// These kernels for a forward pass, or those of the least set for one row, which waits for
  /// memory, and elements are widened as fast by half as wide vectors, or faster.
  ///
  /// All sets give the same bits of one row.
  package static func suited(to work: ForwardWork) -> any KernelSet.Type {
    work.arithmetic == .f32 && work.rowsOfKVHead == 1
      ? InstructionSet.required.kernels : Self.self
  }
}
