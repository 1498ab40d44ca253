/// A set of instructions that kernels are compiled for.
///
/// One program has the kernels of several, and uses the best that the processor has. All compute
/// the same; what differs is how fast.
public enum InstructionSet: String, CaseIterable, Sendable {
  /// What every arm64 processor has.
  case neon
  /// x86-64-v3: vectors of 256 bits with fused multiply–adds, from about 2013. All of a program for
  /// x86-64 is compiled for it, so that it runs on nothing less.
  case avx2
  /// x86-64-v4: vectors of 512 bits.
  case avx512
  /// The same, and products of bf16 pairs summed in `Float`, and of bytes summed in integers.
  case avx512bf16
  /// The same, and products of bf16 pairs in registers of 16 rows by 16 pairs.
  case amx

  /// Those that this program has kernels for, the best last.
  public static var compiled: [InstructionSet] {
    #if arch(x86_64)
      [.avx2, .avx512, .avx512bf16, .amx]
    #else
      [.neon]
    #endif
  }

  /// The features that it takes for granted, as Linux names them.
  public var features: [String] {
    switch self {
    case .neon: []
    case .avx2: ["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"]
    case .avx512:
      Self.avx2.features + ["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"]
    case .avx512bf16: Self.avx512.features + ["avx512_bf16", "avx512_vnni"]
    case .amx: Self.avx512bf16.features + ["amx_tile", "amx_bf16"]
    }
  }

  /// Whether it multiplies bf16 numbers, and bytes, itself; other sets emulate ``avx512bf16`` to
  /// the same bits.
  public var hasBF16: Bool { self == .avx512bf16 || self == .amx }

  /// The features of it that a processor lacks.
  ///
  /// - Parameter cpuinfo: the text of `/proc/cpuinfo`, or the part of it on one processor. One
  ///   without a line of flags says nothing, and nothing is then missing of ``required``, and all
  ///   of the others.
  public func missingFeatures(cpuinfo: String) -> [String] {
    guard let present = Self.presentFeatures(cpuinfo) else {
      return self == Self.required ? [] : features
    }
    return features.filter { !present.contains($0) }
  }

  /// What all of this program is compiled for.
  ///
  /// A program that is compiled for more than its processor has dies of an illegal instruction,
  /// which tells its user nothing; ``missingFeatures(cpuinfo:)`` lets it say so instead.
  public static var required: InstructionSet { compiled[0] }

  /// Those of ``compiled`` that a processor has, the best last.
  ///
  /// - Parameter cpuinfo: as in ``missingFeatures(cpuinfo:)``.
  public static func supported(cpuinfo: String) -> [InstructionSet] {
    compiled.filter { $0.missingFeatures(cpuinfo: cpuinfo).isEmpty }
  }

  private static func presentFeatures(_ cpuinfo: String) -> Set<String>? {
    let line = cpuinfo.split(separator: "\n").first { $0.hasPrefix("flags") }
    return line.map { Set($0.split { $0 == " " || $0 == "\t" }.map(String.init)) }
  }
}

extension InstructionSet {
  /// The names of the sets of several ranks, each once, the least first: `avx2`, or
  /// `avx2 and avx512`.
  package static func names(of sets: [InstructionSet]) -> String {
    allCases.filter(sets.contains).map(\.rawValue).joined(separator: " and ")
  }
}

extension InstructionSet: CustomStringConvertible {
  /// Its name on the command line and in reports.
  public var description: String { rawValue }
}
