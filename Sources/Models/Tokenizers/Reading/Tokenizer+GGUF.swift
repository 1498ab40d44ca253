import Tensors

extension Tokenizer {
  /// Reads the tokenizer of a `.gguf` file.
  init(_ file: GGUFFile) throws(TensorFileError) {
    var reader = GGUFTokenizerReader(file)
    self = try reader.read()
  }
}

/// Makes a tokenizer of the values under `tokenizer.` of a `.gguf` file.
private struct GGUFTokenizerReader {
  private let values: Hyperparameters
  private var parts: TokenizerParts

  init(_ file: GGUFFile) {
    let prefix = "tokenizer.ggml."
    var values: [String: GGUFValue] = [:]
    for (key, value) in file.metadata where key.hasPrefix(prefix) {
      values[String(key.dropFirst(prefix.count))] = value
    }
    self.values = Hyperparameters(path: file.path, values: values, prefix: prefix)
    parts = TokenizerParts(path: file.path)
    if case .string(let template)? = file.metadata["tokenizer.chat_template"] {
      parts.roles.chatTemplate = template
    }
  }

  mutating func read() throws(TensorFileError) -> Tokenizer {
    let model = try values.string("model")
    try readTokens()
    switch model {
    case "gpt2": return try byteLevel()
    case "llama", "t5": return try sentencePiece(isUnigram: model == "t5")
    case "rwkv": return try longestTokens()
    default:
      throw parts.unsupported(
        "is of kind \(quoted(model))", known: "one of the kinds gpt2, llama, t5 and rwkv")
    }
  }

  private mutating func readTokens() throws(TensorFileError) {
    guard case .strings(let tokens)? = values.values["tokens"], tokens.count > 0,
      tokens.count <= Int(Int32.max)
    else { throw parts.malformed("has no list of tokens") }
    parts.tokens = tokens
    parts.kinds = Array(repeating: .normal, count: tokens.count)
    if case .integers(let types)? = values.values["token_type"] {
      guard types.count == tokens.count else {
        throw parts.malformed("has \(tokens.count) tokens and kinds of \(types.count)")
      }
      for (token, type) in types.enumerated() {
        guard let kind = Vocabulary.Kind(rawValue: type) else {
          throw parts.malformed("has a token of kind \(type), which the format does not have")
        }
        parts.kinds[token] = kind
      }
    }
    func token(_ name: String) throws(TensorFileError) -> Int? {
      values.has(name) ? try values.int(name, in: 0...tokens.count - 1) : nil
    }
    parts.roles.beginning = try token("bos_token_id")
    parts.roles.end = try token("eos_token_id")
    parts.roles.endOfTurn = try token("eot_token_id")
    parts.roles.addsBeginning = try values.bool(
      "add_bos_token", default: values.string("model") == "llama")
  }

  private func byteLevel() throws(TensorFileError) -> Tokenizer {
    let name = try values.string("pre", default: "gpt-2")
    guard let preTokenizer = PreTokenizer(ggufName: name) else {
      throw parts.unsupported(
        "has the pre-tokenizer \(quoted(name))",
        known: "one of \(PreTokenizer.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    guard case .strings(let list)? = values.values["merges"] else {
      throw parts.malformed("has no list of merges")
    }
    let vocabulary = parts.byteLevelVocabulary()
    var merges: [(left: [UInt8], right: [UInt8])] = []
    merges.reserveCapacity(list.count)
    for number in 0..<list.count {
      let merge = list[number]
      guard let space = merge.dropFirst().firstIndex(of: 0x20),
        let left = ByteAlphabet.decode(merge[..<space]),
        let right = ByteAlphabet.decode(merge[(space + 1)...])
      else { throw parts.malformed("has \(quoted(list.text(number))) for a merge") }
      merges.append((left, right))
    }
    return Tokenizer(
      vocabulary: vocabulary,
      encoder: ByteLevelEncoder(
        vocabulary: vocabulary, merges: try parts.mergeTable(merges, vocabulary),
        preTokenizer: preTokenizer, normalizes: preTokenizer.normalizes,
        takesWholeWords: preTokenizer.takesWholeWords,
        firstTokens: try parts.firstTokens(vocabulary)),
      special: parts.special(vocabulary), spaces: .kept,
      kind: "byte pairs, pre-tokenizer \(preTokenizer.rawValue)", roles: parts.roles)
  }

  private func sentencePiece(isUnigram: Bool) throws(TensorFileError) -> Tokenizer {
    guard case .numbers(let scores)? = values.values["scores"], scores.count == parts.tokens.count,
      scores.allSatisfy(\.isFinite)
    else { throw parts.malformed("has no score for each token") }
    if case .integers(let map)? = values.values["precompiled_charsmap"], !map.isEmpty {
      throw parts.unsupported(
        "has a table of its own for normalizing texts", known: "a tokenizer without one")
    }
    let vocabulary = try parts.markedVocabulary()
    let unknown = UnknownBytes(
      bytes: vocabulary.bytes,
      unknown: values.has("unknown_token_id")
        ? try values.int("unknown_token_id", in: 0...parts.tokens.count - 1)
        : parts.kinds.firstIndex(of: .unknown), isFused: isUnigram)
    let encoder: any TextEncoder =
      isUnigram
      ? UnigramEncoder(vocabulary: vocabulary, scores: scores, unknown: unknown)
      : CharacterEncoder(
        vocabulary: vocabulary,
        rule: ScoredMerges(vocabulary: vocabulary, scores: scores), unknown: unknown)
    return Tokenizer(
      vocabulary: vocabulary, encoder: encoder,
      special: parts.special(vocabulary, own: !isUnigram),
      spaces: .marked(isPrefixed: try values.bool("add_space_prefix", default: true)),
      kind: isUnigram ? "unigrams" : "pairs of characters by score", roles: parts.roles)
  }

  private func longestTokens() throws(TensorFileError) -> Tokenizer {
    let vocabulary = try parts.escapedVocabulary()
    let unknown =
      values.has("unknown_token_id")
      ? try values.int("unknown_token_id", in: 0...parts.tokens.count - 1) : nil
    return Tokenizer(
      vocabulary: vocabulary,
      encoder: LongestTokenEncoder(vocabulary: vocabulary, unknown: unknown),
      special: parts.special(vocabulary), spaces: .kept, kind: "longest tokens", roles: parts.roles)
  }
}
