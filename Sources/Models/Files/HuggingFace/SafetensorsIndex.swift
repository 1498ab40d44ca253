import FoundationEssentials
import Reporting
import Tensors

/// Which `.safetensors` files of a folder make a model, and which of them has which tensor.
struct SafetensorsIndex {
  /// The names of the files, in order.
  let files: [String]

  private let places: [String: String]

  /// The tensors that the index names; none without an index.
  var tensors: [String] { places.keys.sorted() }

  /// The file of a tensor; nil if there is no index.
  func file(of tensor: String) -> String? { places[tensor] }

  /// Finds the files of the model in a folder.
  ///
  /// They are those that `model.safetensors.index.json` names; where there is none,
  /// `model.safetensors`, or else `model-00001-of-0000N.safetensors` and so on. What else lies in
  /// the folder is no part of the model.
  init(folder: String) throws(TensorFileError) {
    let path = folder + "/model.safetensors.index.json"
    guard FileManager.default.fileExists(atPath: path) else {
      files = try Self.named(in: folder)
      places = [:]
      return
    }
    guard let map = try HuggingFaceFolder.json(path)["weight_map"]?.object else {
      throw TensorFileError(
        .malformed, path: path, "it has no object \"weight_map\"",
        remedy: "download or save the model again")
    }
    var places: [String: String] = [:]
    for (tensor, value) in map {
      guard let file = value.string, !file.contains("/"), file.hasSuffix(".safetensors") else {
        throw TensorFileError(
          .malformed, path: path, tensor: tensor,
          "its file is \(quoted(value.kind)) instead of a .safetensors file of the folder",
          remedy: "download or save the model again")
      }
      places[tensor] = file
    }
    self.places = places
    files = Set(places.values).sorted()
  }

  /// The files of a model by their names.
  private static func named(in folder: String) throws(TensorFileError) -> [String] {
    let names = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [])
      .filter { $0.hasSuffix(".safetensors") }.sorted()
    if names.contains("model.safetensors") { return ["model.safetensors"] }
    let parts = names.compactMap(Part.init)
    guard let count = parts.first?.count else {
      throw TensorFileError(
        .unreadable, path: folder,
        names.isEmpty
          ? "it has no .safetensors file"
          : "it has \(listed(names)), and no file is named as a model's are, model.safetensors "
            + "or model-00001-of-00002.safetensors and so on",
        remedy: "name the folder that a model was saved to with its weights, or a .gguf file")
    }
    guard parts.map(\.number) == Array(1...count), parts.allSatisfy({ $0.count == count }) else {
      throw TensorFileError(
        .malformed, path: folder,
        "it has \(listed(parts.map(\.name))), which are not the parts of one model",
        remedy: "download or save the model again")
    }
    return parts.map(\.name)
  }

  /// The first of some names, and how many more there are.
  private static func listed(_ names: [String]) -> String {
    names.prefix(3).map { quoted($0) }.joined(separator: ", ")
      + (names.count > 3 ? " and \(names.count - 3) more" : "")
  }

  /// One of several files of a model.
  private struct Part {
    let name: String
    let number, count: Int

    /// Takes a name such as `model-00001-of-00002.safetensors`; nil for another.
    init?(_ name: String) {
      let words = name.dropLast(".safetensors".count).split(
        separator: "-", omittingEmptySubsequences: false)
      guard words.count == 4, words[0] == "model", words[2] == "of", words[1].count == 5,
        words[3].count == 5, let number = Int(words[1]), let count = Int(words[3]), count > 0
      else { return nil }
      (self.name, self.number, self.count) = (name, number, count)
    }
  }
}
