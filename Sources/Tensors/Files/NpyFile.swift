/// An open `.npy` file whose header has been checked: one tensor without a name.
///
/// Versions 1.0, 2.0 and 3.0 of the format are read, in row-major (C) and column-major (Fortran)
/// order, with elements of any type that NumPy takes for its float32 or float16, in either byte
/// order, or bfloat16; and of whole numbers, which are an ``IntegerSource``.
///
/// Format: NumPy Enhancement Proposal 1 and `numpy.lib.format`.
public struct NpyFile: Sendable {
  /// The tensor; its name is that of the file, without folders.
  public let entry: TensorEntry

  let file: ReadableFile

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
