/// A value of a model's metadata.
///
/// The widths that GGUF distinguishes are not kept: whoever reads a number checks its range.
public enum GGUFValue: Hashable, Sendable {
  /// A whole number of any width that an `Int` can hold.
  case integer(Int)
  /// A whole number beyond `Int.max`.
  case unsigned(UInt64)
  /// A number of 32 or 64 bits.
  case number(Double)
  /// A truth value.
  case bool(Bool)
  /// A text.
  case string(String)
  /// An array of whole numbers.
  case integers([Int])
  /// An array of numbers of 32 or 64 bits.
  case numbers([Double])
  /// An array of truth values.
  case bools([Bool])
  /// An array of strings.
  case strings(StringTable)
  /// An array of arrays.
  case arrays([GGUFValue])

  /// What it is, for a sentence.
  var kind: String {
    switch self {
    case .integer(let value): "\(value)"
    case .unsigned(let value): "\(value)"
    case .number(let value): "\(value)"
    case .bool(let value): "\(value)"
    case .string: "a text"
    case .integers(let values): "\(values.count) whole numbers"
    case .numbers(let values): "\(values.count) numbers"
    case .bools(let values): "\(values.count) truth values"
    case .strings(let table): "\(table.count) texts"
    case .arrays(let values): "\(values.count) arrays"
    }
  }
}

/// The types of values, by their numbers in files.
enum GGUFValueType: UInt32 {
  case uint8, int8, uint16, int16, uint32, int32, float32, bool, string, array
  case uint64, int64, float64

  /// The fewest bytes that a value takes.
  var leastByteCount: Int {
    switch self {
    case .uint8, .int8, .bool: 1
    case .uint16, .int16: 2
    case .uint32, .int32, .float32: 4
    case .string, .uint64, .int64, .float64: 8
    case .array: 12
    }
  }
}
