/// An open `.npy` file whose header has been checked: one tensor without a name.
///
/// Versions 1.0, 2.0 and 3.0 of the format are read, in row-major order, with elements of type
/// `<f4`, `<f2`, or bfloat16. NumPy has no bfloat16 of its own; the Python package `ml_dtypes` adds
/// one, which `numpy.save` calls `<V2`. NumPy's own two-byte raw type is `|V2`, with the sign for "no
/// byte order", and no other type of `ml_dtypes` has two bytes and kind V, so `<V2` is bfloat16 and
/// `|V2` is refused.
///
/// Format: NumPy Enhancement Proposal 1 and `numpy.lib.format`.
public struct NpyFile: Sendable {
  /// The tensor; its name is that of the file, without folders.
  public let entry: TensorEntry

  private let file: ReadableFile

  /// The file, as its path was given.
  public var path: String { file.path }

  init(_ file: ReadableFile) throws(TensorFileError) {
    self.file = file
    entry = try NpyHeader(file).entry
  }

  /// Whether the file begins as every `.npy` file does.
  static func hasMagic(_ file: ReadableFile) throws(TensorFileError) -> Bool {
    guard file.byteCount >= NpyHeader.magic.count else { return false }
    return try file.read(at: 0, count: NpyHeader.magic.count) == NpyHeader.magic
  }

  /// Opens a file and checks its header; no elements are read.
  ///
  /// - Parameter path: The file.
  /// - Returns: The open file.
  /// - Throws: A `TensorFileError` if the file cannot be read or is not valid.
  public static func open(_ path: String) throws(TensorFileError) -> NpyFile {
    try NpyFile(ReadableFile(path: path))
  }

  /// The tensor, to be read by slices.
  ///
  /// - Parameter rank: The number of dimensions that it must have, if given.
  /// - Returns: The tensor.
  /// - Throws: A `TensorFileError` if its rank differs.
  public func source(rank: Int? = nil) throws(TensorFileError) -> TensorSource {
    try TensorSource(entry: entry, file: file, rank: rank)
  }
}
