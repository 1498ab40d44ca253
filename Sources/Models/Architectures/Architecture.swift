public import Tensors

/// A family of models: how a decoder is read from a file of it.
protocol Architecture: Sendable {
  /// As GGUF has it.
  static var name: String { get }

  /// Reads names and numbers; weights stay in the file.
  static func decoder(_ reader: DecoderReader) throws(TensorFileError) -> Decoder
}

/// All that are known.
///
/// A new one has its file, and its line here.
private let architectures: [any Architecture.Type] = [
  Llama.self, Qwen2.self, Qwen3.self, Qwen3MoE.self, Gemma3.self, GPT2.self, GPTOSS.self,
  Mamba.self, Mamba2.self, RWKV.self, RWKV6.self,
]

extension Decoder {
  /// The names of the architectures that are known.
  public static var architectureNames: [String] { architectures.map { $0.name } }

  /// Reads what a file says of its model; weights stay in it.
  ///
  /// - Throws: A `TensorFileError` if the architecture is not known here, a value or tensor is
  ///   missing or does not fit, or the file has one that nothing here is computed with.
  public init(_ file: ModelFile) throws(TensorFileError) {
    guard let architecture = architectures.first(where: { $0.name == file.architecture }) else {
      throw TensorFileError(
        .unsupported, path: file.path,
        "its architecture is \(quoted(file.architecture)), which is not known here",
        remedy: "known are \(Self.architectureNames.joined(separator: ", "))")
    }
    let reader = DecoderReader(file)
    try reader.requireNoCaps()
    self = try architecture.decoder(reader)
    try reader.requireAllTaken()
    copiedBytes = reader.taken.copiedBytes
  }
}
