/// The form in which the weights of a linear layer are stored: numbers, or blocks of small integers
/// with a scale.
///
/// A row of a matrix is a whole number of blocks. The forms are those of the GGUF format, whose
/// names they have: a weight of `Q4_1`, say, is `d · q + m` with a `q` of four bits and a `d` and
/// an `m` of half precision for each block of 32. Those of K form hold blocks of 256 in parts of 16
/// or 32 that have small scales of their own. Those of `MXFP4` are `2^(e − 127) · f` with an `e` of
/// eight bits for each block of 32 and an `f` of four, a number with a sign, two bits of exponent
/// and one behind the point.
///
/// Sources: the GGUF specification and `ggml-common.h` of ggml; Open Compute Project 2023, OCP
/// Microscaling Formats (MX) Specification, version 1.0.
public enum WeightType: String, Hashable, Sendable, CaseIterable {
  case f32 = "F32"
  case f16 = "F16"
  case bf16 = "BF16"
  case q4_0 = "Q4_0"
  case q4_1 = "Q4_1"
  case q5_0 = "Q5_0"
  case q5_1 = "Q5_1"
  case q8_0 = "Q8_0"
  case q2_K = "Q2_K"
  case q3_K = "Q3_K"
  case q4_K = "Q4_K"
  case q5_K = "Q5_K"
  case q6_K = "Q6_K"
  case mxfp4 = "MXFP4"

  /// The type that ggml, and so a GGUF file, has this number for; nil for one that is not known
  /// here.
  public init?(ggml: UInt32) {
    guard let type = Self.allCases.first(where: { $0.ggml == ggml }) else { return nil }
    self = type
  }

  /// Its number in a GGUF file.
  public var ggml: UInt32 {
    switch self {
    case .f32: 0
    case .f16: 1
    case .q4_0: 2
    case .q4_1: 3
    case .q5_0: 6
    case .q5_1: 7
    case .q8_0: 8
    case .q2_K: 10
    case .q3_K: 11
    case .q4_K: 12
    case .q5_K: 13
    case .q6_K: 14
    case .bf16: 30
    case .mxfp4: 39
    }
  }

  /// Weights of a block.
  public var blockLength: Int {
    switch self {
    case .f32, .f16, .bf16: 1
    case .q4_0, .q4_1, .q5_0, .q5_1, .q8_0, .mxfp4: 32
    case .q2_K, .q3_K, .q4_K, .q5_K, .q6_K: 256
    }
  }

  /// Bytes of a block.
  public var blockBytes: Int {
    switch self {
    case .f32: 4
    case .f16, .bf16: 2
    case .mxfp4: 17
    case .q4_0: 18
    case .q4_1: 20
    case .q5_0: 22
    case .q5_1: 24
    case .q8_0: 34
    case .q2_K: 84
    case .q3_K: 110
    case .q4_K: 144
    case .q5_K: 176
    case .q6_K: 210
    }
  }

  /// The bytes of so many weights.
  ///
  /// - Returns: nil where they are no whole number of blocks, or more bytes than an integer counts.
  public func byteCount(_ weights: Int) -> Int? {
    guard weights >= 0, weights % blockLength == 0 else { return nil }
    let (bytes, overflow) = (weights / blockLength).multipliedReportingOverflow(by: blockBytes)
    return overflow ? nil : bytes
  }
}

extension WeightType: CustomStringConvertible {
  /// Its name in GGUF.
  public var description: String { rawValue }
}
