import Compute
import FoundationEssentials
import Reporting
public import Tensors

/// An open folder of a model as Hugging Face has them: `config.json` and `.safetensors` files, with
/// `model.safetensors.index.json` or without.
public struct HuggingFaceFolder: Sendable {
  /// The folder, as its path was given.
  public let path: String

  /// The architecture, as GGUF calls it.
  let architecture: String
  let hyperparameters: Hyperparameters

  /// The tensors in the order of their names.
  let entries: [Entry]
  let fileCount: Int
  private let places: [String: Int]
  private let contents: [SharedBytes]
  private let names: TensorNames
  /// What ranks of a host share; nil where each makes copies of its own.
  var sharedCopies: SharedCopies?

  /// A tensor of a folder.
  struct Entry: Sendable {
    /// Where the bytes are.
    struct Place: Sendable {
      let tensor: TensorEntry
      let file: Int
    }

    /// By GGUF's conventions.
    var name: String
    let place: Place
    /// What is made of them, if they are experts that GGUF has in another form.
    var experts: StackedExperts?

    /// The dimensions by GGUF's conventions.
    var shape: Shape { experts?.shape ?? place.tensor.shape }
    var typeName: String { experts?.type.rawValue ?? place.tensor.typeName }
    var byteCount: Int { experts?.byteCount ?? place.tensor.byteCount }
  }

  /// Opens a folder and checks the headers of its files; no tensor is read.
  ///
  /// - Throws: A `TensorFileError` if a file is missing or not valid.
  public init(_ path: String) throws(TensorFileError) {
    self.path = path
    let configPath = path + "/config.json"
    var config = try Self.json(configPath)
    if let text = config["text_config"], text.object != nil { config = text }
    guard let type = config["model_type"]?.string else {
      throw TensorFileError(
        .malformed, path: configPath, "it has no text \"model_type\"",
        remedy: "save the model with its configuration, as save_pretrained does")
    }
    architecture = TensorNames.architecture(ofType: type)
    let names = TensorNames(architecture: architecture)
    let (values, namesInFile) = ConfigNames.values(config)
    hyperparameters = Hyperparameters(
      path: configPath, values: values, prefix: "", namesInFile: namesInFile)

    let index = try SafetensorsIndex(folder: path)
    fileCount = index.files.count
    var contents: [SharedBytes] = []
    var entries: [Entry] = []
    var places: [String: Int] = [:]
    for (number, name) in index.files.enumerated() {
      let filePath = path + "/" + name
      let file = try SafetensorsFile.open(filePath)
      contents.append(try SharedBytes(mapping: filePath))
      for tensor in file.entries where index.file(of: tensor.name) ?? name == name {
        guard let name = names.name(tensor.name) else { continue }
        guard places.updateValue(entries.count, forKey: name) == nil else {
          throw TensorFileError(
            .malformed, path: filePath, tensor: tensor.name, "it is in another file as well",
            remedy: "keep the files of one model in the folder")
        }
        entries.append(
          Entry(name: name, place: Entry.Place(tensor: tensor, file: number)))
      }
    }
    if let missing = index.tensors.first(where: { name in
      names.name(name).map { places[$0] == nil } ?? false
    }) {
      throw TensorFileError(
        .missingTensor, path: path, tensor: missing,
        "the index says that it is in a file that has no such tensor",
        remedy: "download or save the model again")
    }
    self.names = names
    self.contents = contents
    if architecture == "gpt-oss" { entries = try StackedExperts.taken(from: entries, path: path) }
    self.entries = entries
    self.places = Dictionary(
      entries.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
  }

  /// What the files say about a tensor.
  func entry(_ name: String) -> Entry? { places[name].map { entries[$0] } }

  /// Matrices that are copied, and the bytes of the copies.
  var copied: [(name: String, byteCount: Int)] {
    entries.compactMap { entry in
      if entry.experts != nil { return (entry.name, entry.byteCount) }
      guard isTransposed(entry) else { return nil }
      return (entry.name, 4 * entry.shape.elementCount)
    }
  }

  private func isTransposed(_ entry: Entry) -> Bool {
    names.isTransposed(entry.name) && entry.shape.rank == 2
  }

  /// A tensor by GGUF's name.
  func tensor(_ name: String) throws(TensorFileError) -> ModelTensor {
    guard let entry = entry(name) else {
      throw TensorFileError(
        .missingTensor, path: path, tensor: name, "no file of the folder has such a tensor",
        remedy: "download or save the model again")
    }
    let tensor = entry.place.tensor
    if let memory = sharedCopies?.bytes(of: name) {
      return ModelTensor(
        name: name, shape: entry.experts?.shape ?? Shape(tensor.shape.dimensions.reversed()),
        type: entry.experts?.type ?? .f32, memory: memory)
    }
    if let experts = entry.experts {
      let (bytes, exponents) =
        if case .blocks(let exponents) = experts.form {
          (contents(of: entry.place), contents(of: exponents))
        } else { (contents(of: entry.place), contents(of: entry.place)) }
      return ModelTensor(
        name: name, shape: experts.shape, type: experts.type,
        memory: experts.memory(bytes.bytes, exponents: exponents.bytes), isCopy: true)
    }
    guard let elementType = tensor.elementType,
      let type = WeightType(rawValue: elementType.rawValue)
    else {
      throw TensorFileError(
        .unsupported, path: path, tensor: tensor.name,
        "its elements are of type \(quoted(tensor.typeName)), which is not read here",
        remedy: "save it as F32, F16 or BF16")
    }
    let stored = ModelTensor(
      name: name, shape: tensor.shape, type: type, memory: contents(of: entry.place))
    return isTransposed(entry) ? stored.transposed() : stored
  }

  /// The bytes of a tensor.
  private func contents(of place: Entry.Place) -> SharedBytes {
    let tensor = place.tensor
    return contents[place.file].part(tensor.byteOffset..<tensor.byteOffset + tensor.byteCount)
  }

  /// Reads a small JSON file.
  static func json(_ path: String) throws(TensorFileError) -> JSONValue {
    let file = try ReadableFile(path: path)
    guard file.byteCount <= 1 << 26 else {
      throw TensorFileError(
        .malformed, path: path, "it has \(file.byteCount) bytes, far more than such a file needs",
        remedy: "download or save the model again")
    }
    let bytes = try file.read(at: 0, count: file.byteCount)
    guard let value = parsed(bytes), value.object != nil else {
      throw TensorFileError(
        .malformed, path: path, "it is no JSON object",
        remedy: "download or save the model again")
    }
    return value
  }

  /// A JSON text; one with Python's word for infinity, which JSON does not have, too.
  private static func parsed(_ bytes: [UInt8]) -> JSONValue? {
    if let value = try? JSONValue(parsing: bytes) { return value }
    let decoder = JSONDecoder()
    decoder.allowsJSON5 = true
    return try? decoder.decode(JSONValue.self, from: Data(bytes))
  }
}

extension ModelTensor {
  /// The transposed matrix, as numbers of this process's own.
  fileprivate func transposed() -> ModelTensor {
    let numbers = decoded()
    var result = AlignedBuffer<Float>(zeros: numbers.count)
    var target = result.mutableSpan
    for row in 0..<rows {
      for column in 0..<columns { target[column * rows + row] = numbers[row * columns + column] }
    }
    return ModelTensor(name: name, shape: [columns, rows], numbers: result)
  }
}
