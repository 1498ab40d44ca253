/// What the header of a file says about one tensor.
public struct TensorEntry: Hashable, Sendable {
  /// The tensor's name; for a file without names, the file's.
  public let name: String

  /// The element type as the file calls it, for example `BF16` or `<f4`.
  public let typeName: String

  /// The element type, or nil if it is none that is read here.
  public let elementType: ElementType?

  /// The dimensions, outermost first.
  public let shape: Shape

  /// The place in the file of the first element's first byte.
  public let byteOffset: Int

  /// The size of all elements in bytes.
  public let byteCount: Int

  /// Whether the first dimension is the one whose neighbours lie side by side (Fortran order), and
  /// not the last.
  public internal(set) var isColumnMajor = false

  /// Whether the bytes of an element come highest first.
  public internal(set) var isBigEndian = false
}
