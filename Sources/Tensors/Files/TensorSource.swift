/// A tensor in an open file, to be read by slices of rows.
///
/// The file stays open for as long as a source of it exists. Sources may be used by several threads
/// at a time.
public struct TensorSource: Sendable {
  /// The name, the shape and the place of the tensor.
  public let entry: TensorEntry

  /// The type of the elements in the file.
  public let elementType: ElementType

  let file: ReadableFile

  /// The file, as its path was given.
  public var path: String { file.path }

  /// The name of the tensor.
  public var name: String { entry.name }

  /// The dimensions, outermost first.
  public var shape: Shape { entry.shape }

  /// The place in the file of the first element's first byte.
  public var byteOffset: Int { entry.byteOffset }

  /// Takes an entry of a file as a tensor to read.
  ///
  /// - Throws: A `TensorFileError` if elements of its type are not read, or the rank is not `rank`.
  init(entry: TensorEntry, file: ReadableFile, rank: Int?) throws(TensorFileError) {
    guard let elementType = entry.elementType else {
      throw TensorFileError(
        .unsupported, path: file.path, tensor: entry.name,
        "its elements are of type \(quoted(entry.typeName)), which is not read here",
        remedy: "save it as one of \(ElementType.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    if let rank, entry.shape.rank != rank {
      let expected = rank == 4 ? "4, [batch, tokens, heads, headDim]" : "\(rank)"
      throw TensorFileError(
        .wrongShape, path: file.path, tensor: entry.name,
        "its shape \(entry.shape) has rank \(entry.shape.rank), but rank \(expected) is needed",
        remedy: "reshape it before saving")
    }
    self.entry = entry
    self.elementType = elementType
    self.file = file
  }

  /// Opens one tensor of a `.safetensors` or `.npy` file, told apart by their first bytes.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - name: The tensor's name in a `.safetensors` file; a `.npy` file has one tensor, no name.
  ///   - rank: The number of dimensions that the tensor must have, if given.
  /// - Returns: The tensor.
  /// - Throws: A `TensorFileError` if the file cannot be read, is not valid, or does not hold such a
  ///   tensor.
  public static func open(
    _ path: String, tensor name: String, rank: Int? = nil
  ) throws(TensorFileError) -> TensorSource {
    let file = try ReadableFile(path: path)
    if try NpyFile.hasMagic(file) {
      return try NpyFile(file).source(rank: rank)
    }
    return try SafetensorsFile(file).source(name, rank: rank)
  }
}
