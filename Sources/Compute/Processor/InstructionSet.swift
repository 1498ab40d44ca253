/// What this build of the kernels was compiled for.
///
/// A program that is compiled for more than its processor has dies of an illegal instruction, which
/// tells its user nothing; ``missingFeatures(cpuinfo:)`` lets it say so instead.
public enum InstructionSet {
  #if GYRE_AVX512
    /// The name by which compilers know it.
    public static let name = "x86-64-v4"
    /// The features that it takes for granted, as Linux names them.
    public static let features = level4
  #elseif GYRE_AVX2
    /// The name by which compilers know it.
    public static let name = "x86-64-v3"
    /// The features that it takes for granted, as Linux names them.
    public static let features = level3
  #else
    /// The name by which compilers know it; empty if it was left to the compiler.
    public static let name = ""
    /// The features that it takes for granted, as Linux names them; unknown if left to the
    /// compiler.
    public static let features: [String] = []
  #endif

  private static let level3 = ["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"]
  private static let level4 =
    level3 + ["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"]

  /// The highest set that this package can be built for and a processor has; nil where it has none
  /// or tells no features, as on arm64.
  ///
  /// - Parameter cpuinfo: the text of `/proc/cpuinfo`.
  public static func best(cpuinfo: String) -> String? {
    guard let present = presentFeatures(cpuinfo) else { return nil }
    if present.isSuperset(of: level4) { return "x86-64-v4" }
    return present.isSuperset(of: level3) ? "x86-64-v3" : nil
  }

  /// The features that this build needs and a processor lacks.
  ///
  /// - Parameter cpuinfo: the text of `/proc/cpuinfo`. One without a line of flags says nothing,
  ///   and nothing is then missing.
  public static func missingFeatures(cpuinfo: String) -> [String] {
    guard let present = presentFeatures(cpuinfo) else { return [] }
    return features.filter { !present.contains($0) }
  }

  private static func presentFeatures(_ cpuinfo: String) -> Set<String>? {
    let line = cpuinfo.split(separator: "\n").first { $0.hasPrefix("flags") }
    return line.map { Set($0.split { $0 == " " || $0 == "\t" }.map(String.init)) }
  }
}
