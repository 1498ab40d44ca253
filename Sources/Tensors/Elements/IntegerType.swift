/// A type of whole numbers that elements of a tensor have in files: of labels, positions and masks.
public enum IntegerType: String, Hashable, Sendable, CaseIterable {
  /// A byte, 0 or 1.
  case bool = "BOOL"

  /// A byte, from 0 to 255.
  case u8 = "U8"

  /// Four bytes, in two's complement.
  case i32 = "I32"

  /// Eight bytes, in two's complement.
  case i64 = "I64"

  /// The type that a file calls so: `I32` in safetensors, `<i4` or `int32` in `.npy`.
  init?(fileName name: String) {
    let order = name.first.flatMap { "<>=|".contains($0) ? $0 : nil }
    switch (order == nil ? name : String(name.dropFirst()), order) {
    case ("BOOL", nil), ("b1", _), ("?", _), ("bool", nil): self = .bool
    case ("U8", nil), ("u1", _), ("B", _), ("uint8", nil): self = .u8
    case ("I32", nil), ("i4", _), ("i", _), ("int32", nil): self = .i32
    case ("I64", nil), ("i8", _), ("q", _), ("l", _), ("int64", nil): self = .i64
    default: return nil
    }
  }

  /// The size of an element in bytes.
  public var byteWidth: Int {
    switch self {
    case .bool, .u8: 1
    case .i32: 4
    case .i64: 8
    }
  }

  /// The number whose bytes these are.
  ///
  /// - Parameter bytes: as many as an element has, the lowest first.
  func number(_ bytes: some BidirectionalCollection<UInt8>) -> Int {
    let bits = bytes.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    switch self {
    case .bool, .u8: return Int(bits)
    case .i32: return Int(Int32(truncatingIfNeeded: bits))
    case .i64: return Int(Int64(bitPattern: bits))
    }
  }
}

extension IntegerType: CustomStringConvertible {
  /// The name that safetensors uses: `I32`.
  public var description: String { rawValue }

  /// The names of all types, for sentences.
  static var listed: String { allCases.map(\.rawValue).joined(separator: ", ") }
}
