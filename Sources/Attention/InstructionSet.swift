/// What this build of the kernels was compiled for.
///
/// A program that is compiled for more than its processor has dies of an illegal instruction, which
/// tells its user nothing; ``missingFeatures(cpuinfo:)`` lets it say so instead.
public enum InstructionSet {
  #if GYRE_AVX512
    /// The name by which compilers know it.
    public static let name = "x86-64-v4"
    /// The features that it takes for granted, as Linux names them.
    public static let features =
      level3 + ["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"]
  #elseif GYRE_AVX2
    /// The name by which compilers know it.
    public static let name = "x86-64-v3"
    /// The features that it takes for granted, as Linux names them.
    public static let features = level3
  #else
    /// The name by which compilers know it; empty if it was left to the compiler.
    public static let name = ""
    /// The features that it takes for granted, as Linux names them; unknown if left to the compiler.
    public static let features: [String] = []
  #endif

  private static let level3 = ["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"]

  /// The features that this build needs and a processor lacks.
  ///
  /// - Parameter cpuinfo: the text of `/proc/cpuinfo`. One without a line of flags says nothing,
  ///   and nothing is then missing.
  public static func missingFeatures(cpuinfo: String) -> [String] {
    guard let line = cpuinfo.split(separator: "\n").first(where: { $0.hasPrefix("flags") }) else {
      return []
    }
    let present = Set(line.split { $0 == " " || $0 == "\t" })
    return features.filter { !present.contains(Substring($0)) }
  }
}
