import AttentionTypes
public import Compute

/// The rate of fused multiply–adds that one core reaches when it does nothing else: the ceiling
/// that kernels are measured against.
public enum MultiplyAddPeak {
  /// Measures the rate for some milliseconds.
  ///
  /// - Parameter instructions: whose vectors are used.
  /// - Returns: floating-point operations a second, two for each multiply–add and lane.
  public static func flopsPerSecond(_ instructions: InstructionSet = .inUse) -> Double {
    instructions.kernels.multiplyAddPeak()
  }
}
