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

  /// Reads `model.safetensors.index.json`, or takes all `.safetensors` files where there is none.
  init(folder: String) throws(TensorFileError) {
    let path = folder + "/model.safetensors.index.json"
    guard FileManager.default.fileExists(atPath: path) else {
      let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
      files = names.filter { $0.hasSuffix(".safetensors") }.sorted()
      places = [:]
      guard !files.isEmpty else {
        throw TensorFileError(
          .unreadable, path: folder, "it has no .safetensors file",
          remedy: "name the folder that a model was saved to with its weights, or a .gguf file")
      }
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
}
