public import AttentionTypes
public import Compute

/// The rate of fused multiply–adds that one core reaches when it does nothing else: the ceiling
/// that kernels are measured against.
public enum MultiplyAddPeak {
  /// Measures the rate for some milliseconds.
  ///
  /// - Parameters:
  ///   - instructions: whose vectors are used.
  ///   - arithmetic: what is multiplied.
  /// - Returns: floating-point operations a second, two for each multiply–add.
  public static func flopsPerSecond(
    _ instructions: InstructionSet = .inUse, arithmetic: Arithmetic = .f32
  ) -> Double {
    instructions.kernels.multiplyAddPeak(arithmetic)
  }
}
