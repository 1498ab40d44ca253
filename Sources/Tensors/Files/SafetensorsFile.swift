/// An open `.safetensors` file whose header has been checked.
///
/// What the format's reference implementation reads is read here. A file is refused, with the
/// reason, unless every number is whole, every tensor has the size that its shape and type demand,
/// and the tensors cover the data without holes, overlaps or missing bytes; and if it describes one
/// tensor twice and differently, of which that implementation takes the last. Tensors of types that
/// are not read here, also of types yet to come, may be in the file as long as nobody asks for
/// them. Names are compared byte by byte in UTF-8.
///
/// Format: <https://github.com/huggingface/safetensors>, "Format".
public struct SafetensorsFile: Sendable {
  /// The tensors in the order of their data.
  public let entries: [TensorEntry]

  /// The strings under `__metadata__`.
  public let metadata: [String: String]

  let file: ReadableFile

  /// The file, as its path was given.
  public var path: String { file.path }

  init(_ file: ReadableFile) throws(TensorFileError) {
    let header = try SafetensorsHeader(file)
    self.file = file
    entries = header.entries
    metadata = header.metadata
  }

  /// Opens a file and checks its header; no tensor is read.
  ///
  /// - Parameter path: The file.
  /// - Returns: The open file.
  /// - Throws: A `TensorFileError` if the file cannot be read or is not valid.
  /// - Complexity: O(header · log(tensors)).
  public static func open(_ path: String) throws(TensorFileError) -> SafetensorsFile {
    try SafetensorsFile(ReadableFile(path: path))
  }

  /// The tensor called `name`, to be read by slices.
  ///
  /// - Parameters:
  ///   - name: The tensor's name.
  ///   - rank: The number of dimensions that it must have, if given.
  /// - Returns: The tensor.
  /// - Throws: A `TensorFileError` if there is no such tensor, if its rank differs, or if elements
  ///   of its type are not read here.
  /// - Complexity: O(tensors).
  public func source(_ name: String, rank: Int? = nil) throws(TensorFileError) -> TensorSource {
    guard let entry = entry(name) else {
      let candidates = entries.filter {
        $0.elementType != nil && (rank == nil || $0.shape.rank == rank)
      }
      let kind = rank.map { "of rank \($0) in" } ?? "in"
      throw TensorFileError(
        .missingTensor, path: path, tensor: name, "there is no such tensor in the file",
        remedy: candidates.isEmpty
          ? "choose another file, as this one has no tensors \(kind) \(ElementType.listed)"
          : "choose one of \(listed(candidates.map(\.name)))")
    }
    return try TensorSource(entry: entry, file: file, rank: rank)
  }

  /// What the header says about the tensor called `name`; nil if there is none.
  ///
  /// - Complexity: O(tensors).
  public func entry(_ name: String) -> TensorEntry? {
    entries.first { $0.name.utf8.elementsEqual(name.utf8) }
  }
}
