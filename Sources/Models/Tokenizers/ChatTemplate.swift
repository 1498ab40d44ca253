/// A message of a conversation.
public struct ChatMessage: Hashable, Sendable {
  /// Who says it.
  public enum Role: String, Sendable {
    case system, user, assistant
  }

  /// Who says it.
  public let role: Role

  /// What is said.
  public let content: String

  /// Makes a message.
  public init(_ role: Role, _ content: String) {
    self.role = role
    self.content = content
  }
}

/// How a model wants conversations written: one of the forms that are known here, which a model's
/// template in Jinja's language is recognised as.
///
/// Templates that are not known are refused: half of what they say would be worse than nothing.
public enum ChatTemplate: Hashable, Sendable {
  /// `<|im_start|>role`, a line's end, what is said, `<|im_end|>`, and a line's end: SmolLM2's,
  /// Qwen's. A conversation without a system message may get one.
  case chatML(system: String?)
  /// `<start_of_turn>role`, a line's end, what is said without space round it, `<end_of_turn>`, and
  /// a line's end: Gemma's. What the system says comes before what the user says first.
  case gemma

  /// A part of a conversation as a model reads it.
  public enum Piece: Hashable, Sendable {
    /// The name of a token that steers the model.
    case control(String)
    /// Text, in which such names mean nothing.
    case text(String)
  }
}

extension ChatTemplate {
  /// Recognises a template in Jinja's language; nil if it is none of those known.
  public init?(recognizing template: String) {
    func has(_ text: String) -> Bool { template.contains(text) }
    if has("<start_of_turn>"), has("<end_of_turn>"), has("| trim") {
      self = .gemma
      return
    }
    guard has("<|im_start|>"), has("<|im_end|>") else { return nil }
    let known = [
      "You are a helpful AI assistant named SmolLM, trained by Hugging Face",
      "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
      "You are a helpful assistant.",
    ]
    if let system = known.first(where: has) {
      self = .chatML(system: system)
    } else if !has("You are"), !has("tools"), !has("<think>") {
      self = .chatML(system: nil)
    } else {
      return nil
    }
  }

  /// A conversation as the model reads it.
  ///
  /// - Parameters:
  ///   - messages: In order.
  ///   - addingPrompt: Whether it ends where the model goes on.
  /// - Returns: The pieces, texts never next to each other.
  public func pieces(_ messages: [ChatMessage], addingPrompt: Bool = true) -> [Piece] {
    var pieces: [Piece] = []
    switch self {
    case .chatML(let system):
      if let system, messages.first?.role != .system {
        pieces += turn("system", system)
      }
      for message in messages { pieces += turn(message.role.rawValue, message.content) }
    case .gemma:
      var rest = messages[...]
      var prefix = ""
      if let first = rest.first, first.role == .system {
        prefix = first.content + "\n\n"
        rest = rest.dropFirst()
      }
      for message in rest {
        pieces += turn(
          message.role == .assistant ? "model" : "user", prefix + trimmed(message.content))
        prefix = ""
      }
    }
    return pieces + (addingPrompt ? prompt : [])
  }

  /// What a message adds to a conversation that the model has read up to its own last words.
  ///
  /// - Parameters:
  ///   - message: The next one.
  ///   - closing: Whether the model has not ended its turn itself, as where it was cut off.
  public func followUp(_ message: ChatMessage, closing: Bool = false) -> [Piece] {
    let role = self == .gemma && message.role == .assistant ? "model" : message.role.rawValue
    let content = self == .gemma ? trimmed(message.content) : message.content
    let end = closing ? [Piece.control(endOfTurn)] : []
    return end + [.text("\n")] + turn(role, content) + prompt
  }

  /// The name of the token that ends a turn.
  public var endOfTurn: String { self == .gemma ? "<end_of_turn>" : "<|im_end|>" }

  private var startOfTurn: String { self == .gemma ? "<start_of_turn>" : "<|im_start|>" }

  private var prompt: [Piece] {
    [.control(startOfTurn), .text(self == .gemma ? "model\n" : "assistant\n")]
  }

  private func turn(_ role: String, _ content: String) -> [Piece] {
    [.control(startOfTurn), .text("\(role)\n\(content)"), .control(endOfTurn), .text("\n")]
  }

  private func trimmed(_ text: String) -> String {
    let scalars = text.unicodeScalars
    let isSpace = { (scalar: Unicode.Scalar) in scalar.properties.isWhitespace }
    guard let first = scalars.firstIndex(where: { !isSpace($0) }),
      let last = scalars.lastIndex(where: { !isSpace($0) })
    else { return "" }
    return String(scalars[first...last])
  }
}

extension Tokenizer {
  /// The tokens of a conversation or a part of one.
  ///
  /// - Parameters:
  ///   - pieces: What a `ChatTemplate` makes of messages.
  ///   - addingBeginning: Whether `beginning` comes first; as the model wants if nil.
  /// - Returns: nil if the vocabulary lacks a token that a piece names.
  public func encode(_ pieces: [ChatTemplate.Piece], addingBeginning: Bool? = nil) -> [Int]? {
    var tokens: [Int] = []
    if addingBeginning ?? addsBeginning, let beginning { tokens.append(beginning) }
    for piece in pieces {
      switch piece {
      case .control(let name):
        guard let token = vocabulary.token(named: name) else { return nil }
        tokens.append(token)
      case .text(let text): tokens += encode(text, addingBeginning: false)
      }
    }
    return tokens
  }
}
