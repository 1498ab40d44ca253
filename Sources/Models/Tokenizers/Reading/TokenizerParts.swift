import Tensors

/// What files of both kinds say of a tokenizer, and what is made of it.
struct TokenizerParts {
  let path: String
  /// The tokens as the file has them.
  var tokens = StringTable()
  var kinds: [Vocabulary.Kind] = []
  var roles = Tokenizer.Roles()

  func malformed(_ problem: String) -> TensorFileError {
    TensorFileError(
      .malformed, path: path, "its tokenizer \(problem)",
      remedy: "convert or download the model again")
  }

  func unsupported(_ problem: String, known: String) -> TensorFileError {
    TensorFileError(
      .unsupported, path: path, "its tokenizer \(problem), which is not known here",
      remedy: "name a model with \(known)")
  }

  /// The numbers of special tokens must be those of tokens.
  func checkRoles() throws(TensorFileError) {
    for token in [roles.beginning, roles.end, roles.endOfTurn] {
      guard let token, !(0..<tokens.count).contains(token) else { continue }
      throw malformed("names the token \(token), but has \(tokens.count)")
    }
  }

  /// The tokens that are found in texts before these are split.
  ///
  /// - Parameter own: Whether those that are a text's own are.
  func special(_ vocabulary: Vocabulary, own: Bool = true) -> SpecialTokens {
    SpecialTokens(
      (0..<vocabulary.count).compactMap { token in
        switch vocabulary.kinds[token] {
        case .control, .unknown: (token, Array(vocabulary.tokens[token]), true)
        case .userDefined: own ? (token, Array(vocabulary.tokens[token]), false) : nil
        case .normal, .unused, .byte: nil
        }
      })
  }
}

// Byte pair encoding of bytes.
extension TokenizerParts {
  /// The vocabulary with the bytes that the characters of tokens stand for.
  func byteLevelVocabulary() -> Vocabulary {
    var decoded = StringTable()
    for (token, kind) in kinds.enumerated() {
      decoded.append(
        kind == .normal
          ? ByteAlphabet.decode(tokens[token]) ?? Array(tokens[token])
          : Array(tokens[token]))
    }
    return Vocabulary(tokens: decoded, kinds: kinds)
  }

  /// The tokens that bytes begin as; −1 for those that have none, as rare control characters of
  /// some models.
  func firstTokens(_ vocabulary: Vocabulary) throws(TensorFileError) -> [Int32] {
    let first = (0..<256).map { Int32(vocabulary.token(of: [UInt8($0)]) ?? -1) }
    guard first.contains(where: { $0 >= 0 }) else { throw malformed("has no tokens for bytes") }
    return first
  }

  /// The merges of a list, each two tokens that together are a third.
  ///
  /// - Parameters:
  ///   - merges: Pairs as the file has them.
  ///   - bytes: What a part of a pair stands for.
  func mergeTable(
    _ merges: [(left: [UInt8], right: [UInt8])], _ vocabulary: Vocabulary
  ) throws(TensorFileError) -> MergeTable {
    var table = MergeTable(capacity: merges.count)
    for (rank, (left, right)) in merges.enumerated() {
      guard let first = vocabulary.token(of: left[...]),
        let second = vocabulary.token(of: right[...]),
        let joined = vocabulary.token(of: (left + right)[...])
      else {
        let words = [left, right].map { quoted(String(decoding: $0, as: UTF8.self)) }
        throw malformed("joins \(words[0]) and \(words[1]), which with both together are no tokens")
      }
      table.insert(
        Int32(first), Int32(second), MergeTable.Merge(rank: Int32(rank), token: Int32(joined)))
    }
    return table
  }
}

// SentencePiece.
extension TokenizerParts {
  /// The vocabulary with spaces for their marks, and bytes for `<0x41>`.
  func markedVocabulary() throws(TensorFileError) -> Vocabulary {
    var decoded = StringTable()
    for (token, kind) in kinds.enumerated() {
      guard kind == .byte else {
        decoded.append(
          kind == .control || kind == .unknown
            ? Array(tokens[token]) : Tokenizer.unmarked(tokens[token]))
        continue
      }
      let name = tokens.text(token)
      guard name.utf8.count == 6, name.hasPrefix("<0x"), name.hasSuffix(">"),
        let byte = UInt8(name.dropFirst(3).dropLast(), radix: 16)
      else { throw malformed("has the token \(quoted(name)) for a byte") }
      decoded.append([byte])
    }
    return Vocabulary(tokens: decoded, kinds: kinds)
  }
}

// Tokens written as Python writes bytes.
extension TokenizerParts {
  /// The vocabulary with bytes for `\n`, `\x41` and their kind.
  func escapedVocabulary() throws(TensorFileError) -> Vocabulary {
    var decoded = StringTable()
    for (token, kind) in kinds.enumerated() {
      guard kind == .normal else {
        decoded.append(Array(tokens[token]))
        continue
      }
      guard let bytes = Self.unescaped(tokens[token]) else {
        throw malformed("has the token \(quoted(tokens.text(token))), whose backslash says nothing")
      }
      decoded.append(bytes)
    }
    return Vocabulary(tokens: decoded, kinds: kinds)
  }

  /// The bytes of a text with backslashes; nil where one stands before nothing that it could mean.
  private static func unescaped(_ text: ArraySlice<UInt8>) -> [UInt8]? {
    var bytes: [UInt8] = []
    var rest = text
    while let first = rest.popFirst() {
      guard first == UInt8(ascii: "\\") else {
        bytes.append(first)
        continue
      }
      switch rest.popFirst() {
      case UInt8(ascii: "n"): bytes.append(0x0A)
      case UInt8(ascii: "r"): bytes.append(0x0D)
      case UInt8(ascii: "t"): bytes.append(0x09)
      case UInt8(ascii: "x"):
        guard rest.count >= 2,
          let byte = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
        else { return nil }
        bytes.append(byte)
        rest = rest.dropFirst(2)
      case let other?: bytes.append(other)
      case nil: return nil
      }
    }
    return bytes
  }
}
