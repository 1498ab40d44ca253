/// How the numbers of a tensor of a model lie in memory: single ones, or blocks that share a scale.
///
/// Formats and numbers are those of ggml (<https://github.com/ggml-org/ggml>, `ggml-common.h`): a
/// row is a whole number of blocks, and all fields of a block are little-endian.
public enum BlockFormat: UInt32, Hashable, Sendable, CaseIterable {
  /// Single numbers, `Float`.
  case f32 = 0
  /// Single numbers, `Float16`.
  case f16 = 1
  /// 32 numbers of 4 bits: `d · (q − 8)`.
  case q4_0 = 2
  /// 32 numbers of 4 bits: `d · q + m`.
  case q4_1 = 3
  /// 32 numbers of 5 bits: `d · (q − 16)`.
  case q5_0 = 6
  /// 32 numbers of 5 bits: `d · q + m`.
  case q5_1 = 7
  /// 32 numbers of 8 bits with a sign: `d · q`.
  case q8_0 = 8
  /// 256 numbers of 2 bits; each 16 have a scale and a least number of 4 bits.
  case q2K = 10
  /// 256 numbers of 3 bits; each 16 have a scale of 6 bits.
  case q3K = 11
  /// 256 numbers of 4 bits; each 32 have a scale and a least number of 6 bits.
  case q4K = 12
  /// 256 numbers of 5 bits; each 32 have a scale and a least number of 6 bits.
  case q5K = 13
  /// 256 numbers of 6 bits; each 16 have a scale of 8 bits.
  case q6K = 14
  /// Single numbers, `BFloat16`.
  case bf16 = 30

  /// How many numbers a block has; 1 for single numbers.
  public var elementsPerBlock: Int {
    switch self {
    case .f32, .f16, .bf16: 1
    case .q4_0, .q4_1, .q5_0, .q5_1, .q8_0: 32
    case .q2K, .q3K, .q4K, .q5K, .q6K: 256
    }
  }

  /// The size of a block in bytes.
  public var bytesPerBlock: Int {
    switch self {
    case .f32: 4
    case .f16, .bf16: 2
    case .q4_0: 18
    case .q4_1: 20
    case .q5_0: 22
    case .q5_1: 24
    case .q8_0: 34
    case .q2K: 84
    case .q3K: 110
    case .q4K: 144
    case .q5K: 176
    case .q6K: 210
    }
  }

  /// Whether several numbers share a scale.
  public var isQuantized: Bool { elementsPerBlock > 1 }

  /// The size in bytes of a number, which need not be whole.
  public var bytesPerElement: Double { Double(bytesPerBlock) / Double(elementsPerBlock) }
}

extension BlockFormat: CustomStringConvertible {
  /// The name that ggml uses, for example `F32`, `Q4_1` or `Q6_K`.
  public var description: String {
    switch self {
    case .f32: "F32"
    case .f16: "F16"
    case .bf16: "BF16"
    case .q4_0: "Q4_0"
    case .q4_1: "Q4_1"
    case .q5_0: "Q5_0"
    case .q5_1: "Q5_1"
    case .q8_0: "Q8_0"
    case .q2K: "Q2_K"
    case .q3K: "Q3_K"
    case .q4K: "Q4_K"
    case .q5K: "Q5_K"
    case .q6K: "Q6_K"
    }
  }

  /// The names of all formats, for sentences.
  static var listed: String { allCases.map(\.description).joined(separator: ", ") }
}
