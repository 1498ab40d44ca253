/// A type that tensor elements have in files and on the wire; arithmetic is always done in `Float`.
public enum ElementType: String, Hashable, Sendable, CaseIterable {
  /// IEEE 754 binary32, `Float`.
  case f32 = "F32"

  /// IEEE 754 binary16, `Float16`: largest finite value 65504.
  case f16 = "F16"

  /// The upper half of a binary32, `BFloat16`.
  case bf16 = "BF16"

  /// The size of an element in bytes.
  @inlinable
  public var byteWidth: Int {
    switch self {
    case .f32: 4
    case .f16, .bf16: 2
    }
  }
}

extension ElementType: CustomStringConvertible {
  /// The name that safetensors uses: `F32`, `F16` or `BF16`.
  public var description: String { rawValue }
}

extension ElementType {
  /// The names of all types, for sentences.
  static var listed: String { allCases.map(\.rawValue).joined(separator: ", ") }
}
