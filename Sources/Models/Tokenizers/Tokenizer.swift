/// Splits texts into the tokens of a model, and joins tokens to texts.
///
/// Byte pair encoding of bytes (GPT-2, Llama 3, Qwen, SmolLM), of characters with scores or listed
/// merges (Llama 2, Gemma), and unigrams, as the model's file says; see `ModelFile.tokenizer()`.
public struct Tokenizer: Sendable {
  /// The tokens.
  public let vocabulary: Vocabulary

  /// The token that a sequence begins with; nil if the model has none.
  public let beginning: Int?

  /// Whether the model wants `beginning` before a text.
  public let addsBeginning: Bool

  /// The tokens that end what a model says: of the text, and of a turn.
  public let ends: Set<Int>

  /// The model's chat template as its file has it, in Jinja's language; nil if there is none.
  public let chatTemplateText: String?

  /// The kind in words: `byte pairs, pre-tokenizer qwen2`.
  public let kind: String

  let encoder: any TextEncoder
  let special: SpecialTokens
  let spaces: Spaces

  /// What becomes of spaces before a text is split.
  enum Spaces: Sendable {
    /// They stay.
    case kept
    /// SentencePiece's: U+2581 is a space too, and a text may get one before it.
    case marked(isPrefixed: Bool)
  }

  init(
    vocabulary: Vocabulary, encoder: any TextEncoder, special: SpecialTokens, spaces: Spaces,
    kind: String, roles: Roles
  ) {
    self.vocabulary = vocabulary
    self.encoder = encoder
    self.special = special
    self.spaces = spaces
    self.kind = kind
    beginning = roles.beginning
    addsBeginning = roles.addsBeginning && roles.beginning != nil
    chatTemplateText = roles.chatTemplate
    var ends = Set([roles.end, roles.endOfTurn].compactMap { $0 })
    for name in ["<|im_end|>", "<|endoftext|>", "<end_of_turn>", "<|eot_id|>", "<|end_of_text|>"] {
      if let token = vocabulary.token(named: name), vocabulary.isSpecial(token) {
        ends.insert(token)
      }
    }
    self.ends = ends
  }

  /// What a file says about special tokens.
  struct Roles: Sendable {
    var beginning: Int?
    var end: Int?
    var endOfTurn: Int?
    var addsBeginning = false
    var chatTemplate: String?
  }

  /// How many tokens there are.
  public var count: Int { vocabulary.count }
}

extension Tokenizer {
  /// The tokens of a text.
  ///
  /// - Parameters:
  ///   - text: Any bytes; what is no valid UTF-8 becomes U+FFFD, as Unicode recommends.
  ///   - special: Whether names of tokens that steer the model, such as `<|im_end|>`, become these
  ///     tokens. A user's text should not be read so.
  ///   - addingBeginning: Whether `beginning` comes first; as the model wants if nil.
  /// - Complexity: O(n · log n) at worst, and about O(n) for texts of words.
  public func encode(
    _ text: some Sequence<UInt8>, special: Bool = false, addingBeginning: Bool? = nil
  ) -> [Int] {
    var tokens: [Int] = []
    if addingBeginning ?? addsBeginning, let beginning { tokens.append(beginning) }
    let bytes = Self.valid(Array(text))
    switch spaces {
    case .kept: split(bytes, control: special, into: &tokens)
    case .marked(isPrefixed: false):
      split(Self.unmarked(bytes), control: special, into: &tokens)
    case .marked(isPrefixed: true):
      let unmarked = Self.unmarked(bytes)
      for piece in self.special.pieces(of: unmarked, own: false, control: special) {
        switch piece {
        case .token(let token): tokens.append(token)
        case .text(let range): split([0x20] + unmarked[range], control: false, into: &tokens)
        }
      }
    }
    return tokens
  }

  /// Appends the tokens of valid UTF-8 whose spaces are as they should be.
  private func split(_ bytes: [UInt8], control: Bool, into tokens: inout [Int]) {
    for piece in special.pieces(of: bytes, control: control) {
      switch piece {
      case .token(let token): tokens.append(token)
      case .text(let range): encoder.encode(bytes[range], into: &tokens)
      }
    }
  }

  /// The tokens of a text.
  public func encode(
    _ text: String, special: Bool = false, addingBeginning: Bool? = nil
  ) -> [Int] {
    encode(text.utf8, special: special, addingBeginning: addingBeginning)
  }

  /// The bytes with every part that is no valid UTF-8 replaced.
  private static func valid(_ bytes: [UInt8]) -> [UInt8] {
    if bytes.allSatisfy({ $0 < 0x80 }) { return bytes }
    return Array(String(decoding: bytes, as: UTF8.self).utf8)
  }

  /// SentencePiece's mark of a space.
  static let mark: [UInt8] = [0xE2, 0x96, 0x81]

  /// The bytes with spaces in the place of marks.
  static func unmarked(_ bytes: some Collection<UInt8>) -> [UInt8] {
    guard bytes.contains(mark[0]) else { return Array(bytes) }
    var result: [UInt8] = []
    result.reserveCapacity(bytes.count)
    for byte in bytes {
      result.append(byte)
      if byte == mark[2], result.count > 2, result[result.count - 2] == mark[1],
        result[result.count - 3] == mark[0]
      {
        result.removeLast(3)
        result.append(0x20)
      }
    }
    return result
  }
}

extension Tokenizer {
  /// The bytes that a token stands for, which need not be whole characters; of special ones their
  /// name.
  ///
  /// - Precondition: There is such a token.
  public func bytes(of token: Int) -> ArraySlice<UInt8> { vocabulary.tokens[token] }

  /// The bytes that tokens stand for together.
  ///
  /// - Parameters:
  ///   - tokens: Each one of the vocabulary.
  ///   - skippingSpecial: Whether tokens that steer the model are left out.
  public func decode(_ tokens: some Sequence<Int>, skippingSpecial: Bool = false) -> [UInt8] {
    var bytes: [UInt8] = []
    var isFirst = true
    for token in tokens {
      let isSpecial = vocabulary.isSpecial(token)
      if isSpecial, skippingSpecial { continue }
      var part = self.bytes(of: token)
      // The space that encoding has put before a text.
      if case .marked(isPrefixed: true) = spaces, isFirst, !isSpecial, part.first == 0x20 {
        part = part.dropFirst()
      }
      if !isSpecial { isFirst = false }
      bytes.append(contentsOf: part)
    }
    return bytes
  }
}
