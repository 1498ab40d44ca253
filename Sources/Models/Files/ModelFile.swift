import FoundationEssentials
public import Tensors

/// An open model: a `.gguf` file, or a folder of Hugging Face with `config.json` and
/// `.safetensors` files.
///
/// Tensors and values have GGUF's names in both. Tensors stay in their files, whose pages the
/// processes of a host share. What the files differ in besides is said: `rotaryPairs`, and
/// `normsLackOne`.
public struct ModelFile: Sendable {
  /// The file or folder, as its path was given.
  public let path: String

  /// The architecture, as GGUF calls it: `llama`, `qwen2`, `gemma3`, …; any text a file has.
  public let architecture: String

  /// The numbers that make the model.
  public let hyperparameters: Hyperparameters

  /// The name that the file gives the model; nil if it gives none.
  public let name: String?

  let source: Source

  enum Source: Sendable {
    case gguf(GGUFFile)
    case folder(HuggingFaceFolder)
  }

  /// Opens a model and checks all headers; no tensor is read.
  ///
  /// - Parameter path: A `.gguf` file, or a folder with `config.json`.
  /// - Throws: A `TensorFileError` if a file cannot be read or is not valid.
  public init(_ path: String) throws(TensorFileError) {
    var isFolder = false
    if FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder {
      self.init(try HuggingFaceFolder(path))
    } else {
      try self.init(GGUFFile(path))
    }
  }

  /// Takes a `.gguf` file as a model.
  ///
  /// - Throws: A `TensorFileError` if it does not say of what architecture it is.
  public init(_ file: GGUFFile) throws(TensorFileError) {
    path = file.path
    source = .gguf(file)
    guard case .string(let architecture)? = file.metadata["general.architecture"] else {
      throw TensorFileError(
        .malformed, path: file.path, "it has no text 'general.architecture'",
        remedy: "name a file with a language model, as projectors and adapters are none")
    }
    self.architecture = architecture
    if case .string(let name)? = file.metadata["general.name"] {
      self.name = name
    } else {
      name = nil
    }
    var values: [String: GGUFValue] = [:]
    let prefix = architecture + "."
    for (key, value) in file.metadata where key.hasPrefix(prefix) {
      values[String(key.dropFirst(prefix.count))] = value
    }
    hyperparameters = Hyperparameters(path: file.path, values: values, prefix: prefix)
  }

  /// Takes a folder as a model.
  public init(_ folder: HuggingFaceFolder) {
    path = folder.path
    source = .folder(folder)
    architecture = folder.architecture
    hyperparameters = folder.hyperparameters
    name = nil
  }
}

extension ModelFile {
  /// Which columns of a head are rotated together.
  public enum RotaryPairs: String, Sendable {
    /// Columns 2j and 2j + 1.
    case neighbours
    /// Columns j and j + headDim / 2.
    case halves
  }

  /// In which order the rows of queries' and keys' weights are: GGUF files of llama have been
  /// rearranged for rotating neighbours.
  public var rotaryPairs: RotaryPairs {
    if case .gguf = source, architecture == "llama" { .neighbours } else { .halves }
  }

  /// Whether one is still to be added to the weights of norms: Hugging Face's of Gemma lack it.
  public var normsLackOne: Bool {
    if case .folder = source { architecture.hasPrefix("gemma") } else { false }
  }

  /// The format in words: `GGUF 3`, `safetensors, 2 files`.
  public var format: String {
    switch source {
    case .gguf(let file): "GGUF \(file.version)"
    case .folder(let folder):
      "safetensors, \(folder.fileCount) file\(folder.fileCount == 1 ? "" : "s")"
    }
  }
}

extension ModelFile {
  /// What a file says about a tensor.
  public struct TensorEntry: Sendable {
    /// By GGUF's conventions.
    public let name: String
    /// The dimensions in the file, outermost first.
    public let shape: Shape
    /// The type as the file calls it.
    public let typeName: String
    /// The size of all rows in bytes.
    public let byteCount: Int
  }

  /// All tensors, in the order of the file.
  public var tensors: [TensorEntry] {
    switch source {
    case .gguf(let file):
      file.tensors.map {
        TensorEntry(
          name: $0.name, shape: $0.shape, typeName: $0.typeName, byteCount: $0.byteCount)
      }
    case .folder(let folder):
      folder.entries.map {
        TensorEntry(
          name: $0.name, shape: $0.shape, typeName: $0.typeName, byteCount: $0.byteCount)
      }
    }
  }

  /// Whether there is a tensor of that name.
  public func has(_ name: String) -> Bool {
    switch source {
    case .gguf(let file): file.entry(name) != nil
    case .folder(let folder): folder.entry(name) != nil
    }
  }

  /// The tensor of a name, in place.
  ///
  /// - Parameters:
  ///   - name: By GGUF's conventions: `blk.0.attn_q.weight`.
  ///   - shape: What it must be, outermost dimension first, if given.
  /// - Throws: A `TensorFileError` if there is no such tensor, its type is not read here, or its
  ///   shape differs.
  public func tensor(_ name: String, shape: Shape? = nil) throws(TensorFileError) -> ModelTensor {
    let tensor =
      switch source {
      case .gguf(let file): try file.tensor(name)
      case .folder(let folder): try folder.tensor(name)
      }
    guard let shape, tensor.shape != shape else { return tensor }
    throw TensorFileError(
      .wrongShape, path: path, tensor: name,
      "its shape is \(tensor.shape), but the model's numbers make it \(shape)",
      remedy: "convert the model again, or name another file")
  }
}
