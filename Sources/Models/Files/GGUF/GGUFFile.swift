import Compute
public import Tensors

/// An open `.gguf` file whose header has been checked; tensors are read in place.
///
/// Versions 2 and 3 are read, little-endian only. A file is refused, with the reason, unless every
/// count and length fits the file, names are unique, and every tensor is where the file has bytes,
/// at a multiple of the alignment, in whole blocks, and overlaps no other. Tensors of types that
/// ggml has and that are not read here may be in the file as long as nobody asks for them.
///
/// Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.
public struct GGUFFile: Sendable {
  /// The file, as its path was given.
  public let path: String

  /// The version of the format: 2 or 3.
  public let version: Int

  /// The values by their names.
  public let metadata: [String: GGUFValue]

  /// The tensors in the order of the file's header.
  public let tensors: [GGUFTensor]

  /// The contents of the file.
  private let contents: SharedBytes

  private let places: [String: Int]

  /// Opens a file and checks its header; no tensor is read.
  ///
  /// - Parameter path: The file.
  /// - Throws: A `TensorFileError` if the file cannot be read or is not valid.
  /// - Complexity: O(header · log(tensors)).
  public init(_ path: String) throws(TensorFileError) {
    let file = try ReadableFile(path: path)
    let head = try file.read(at: 0, count: min(file.byteCount, FileFormat.headLength))
    let format = FileFormat(head: head)
    if let format, format != .gguf {
      throw TensorFileError(
        .otherFormat(format), path: path, "it is no .gguf file but \(format.name)",
        remedy: "name a .gguf file, or the folder of a model in safetensors")
    }
    try self.init(SharedBytes(file), path: path)
  }

  /// Checks the header of a file that is in memory already.
  ///
  /// - Parameters:
  ///   - contents: All bytes of the file.
  ///   - path: What errors call it.
  /// - Throws: A `TensorFileError` if they are no valid file.
  public init(_ contents: SharedBytes, path: String) throws(TensorFileError) {
    let header: GGUFHeader
    do throws(GGUFProblem) {
      header = try GGUFHeader(contents.bytes)
    } catch {
      throw TensorFileError(
        error.isTruncation ? .truncated : .malformed, path: path,
        "\(error.problem) (at byte \(error.offset))",
        remedy: error.isTruncation
          ? "copy or download it again" : "convert the model again, or download it again")
    }
    self.path = path
    self.contents = contents
    version = header.version
    metadata = header.metadata
    tensors = header.tensors
    places = Dictionary(
      uniqueKeysWithValues: tensors.enumerated().map { ($1.name, $0) })
    if case .integer(let parts)? = metadata["split.count"], parts > 1 {
      throw TensorFileError(
        .unsupported, path: path, "it is one of \(parts) parts of a model",
        remedy: "join them with llama.cpp's 'llama-gguf-split --merge'")
    }
  }

  /// What the header says about the tensor called `name`; nil if there is none.
  ///
  /// - Complexity: O(1).
  public func entry(_ name: String) -> GGUFTensor? { places[name].map { tensors[$0] } }

  /// The tensor called `name`, in place.
  ///
  /// - Throws: A `TensorFileError` if there is no such tensor or its type is not read here.
  /// - Complexity: O(1).
  public func tensor(_ name: String) throws(TensorFileError) -> ModelTensor {
    guard let entry = entry(name) else {
      throw TensorFileError(
        .missingTensor, path: path, tensor: name, "there is no such tensor in the file",
        remedy: "convert the model again, or name another file")
    }
    guard let type = entry.type else {
      let known = WeightType.allCases.map(\.rawValue).joined(separator: ", ")
      throw TensorFileError(
        .unsupported, path: path, tensor: name,
        "its blocks are of type \(entry.typeName), which is not read here",
        remedy: "quantise the model to one of \(known)")
    }
    return ModelTensor(
      name: name, shape: entry.shape, type: type,
      memory: contents.part(entry.byteOffset..<entry.byteOffset + entry.byteCount))
  }
}
