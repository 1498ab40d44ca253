public import Tensors

extension ModelFile {
  /// The model's tokenizer.
  ///
  /// - Throws: A `TensorFileError` if the file has none, it is of a kind that is not known here, or
  ///   it has more tokens than the model.
  /// - Complexity: O(tokens + merges), some tenths of a second for 256,000 tokens.
  public func tokenizer() throws(TensorFileError) -> Tokenizer {
    let tokenizer =
      switch source {
      case .gguf(let file): try Tokenizer(file)
      case .folder(let folder): try Tokenizer(folder)
      }
    if let embedding = tensors.first(where: { $0.name == "token_embd.weight" }),
      let rows = embedding.shape.dimensions.first, rows < tokenizer.count
    {
      throw TensorFileError(
        .malformed, path: path, tensor: embedding.name,
        "it has rows for \(rows) tokens, but the tokenizer has \(tokenizer.count)",
        remedy: "convert the model again with its own tokenizer")
    }
    return tokenizer
  }

  /// How the model wants conversations written.
  ///
  /// - Throws: A `TensorFileError` if the file has no template, or one that is not known here.
  public func chatTemplate(of tokenizer: Tokenizer) throws(TensorFileError) -> ChatTemplate {
    guard let text = tokenizer.chatTemplateText else {
      throw TensorFileError(
        .unsupported, path: path,
        "it has no chat template, as models have that were not taught to "
          + "converse",
        remedy: "give a text to go on with, or name an instructed model")
    }
    guard let template = ChatTemplate(recognizing: text) else {
      throw TensorFileError(
        .unsupported, path: path,
        text.contains("<|channel|>")
          ? "its chat template is harmony, which is not known here"
          : "its chat template, which begins with \(quoted(text, limit: 60)), is not known here",
        remedy: "give a prompt as the model wants it, or name a model of SmolLM2, Qwen2 or Gemma")
    }
    return template
  }
}
