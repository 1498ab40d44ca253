/// The tokens of a model: their bytes, what they are for, and what they weigh.
public struct Vocabulary: Sendable {
  /// What a token is for; the numbers are those of GGUF.
  public enum Kind: Int, Sendable {
    case normal = 1
    case unknown
    /// Steers the model, as the end of a text does; a text has it only where that is asked for.
    case control
    /// Matched in texts before all others.
    case userDefined
    case unused
    /// One byte, for what no other token has.
    case byte
  }

  /// The bytes that a token stands for in a text, by its number; of special ones their name.
  public let tokens: StringTable

  /// What each is for.
  public let kinds: [Kind]

  /// Those that texts are split into, by their bytes.
  private let numbers: ByteStringMap

  /// Those that have a name, by their names.
  private let names: ByteStringMap

  /// The token of each byte, or −1.
  let bytes: [Int32]

  init(tokens: StringTable, kinds: [Kind]) {
    precondition(tokens.count == kinds.count, "every token is of a kind")
    self.tokens = tokens
    self.kinds = kinds
    // What stands for a byte is not what a text with that byte is split into.
    numbers = ByteStringMap(tokens) { kinds[$0] == .normal || kinds[$0] == .userDefined }
    names = ByteStringMap(tokens) { kinds[$0] != .byte }
    var bytes = [Int32](repeating: -1, count: 256)
    for (token, kind) in kinds.enumerated() where kind == .byte {
      if let byte = tokens[token].first, tokens[token].count == 1 {
        bytes[Int(byte)] = Int32(token)
      }
    }
    self.bytes = bytes
  }

  /// How many tokens there are.
  public var count: Int { tokens.count }

  /// The token of a name, be it one that texts are split into or not; of several the first.
  public func token(named name: String) -> Int? { names.number(Array(name.utf8)[...]) }

  /// The token that a text may be split into with these bytes; of several the first.
  @inline(__always)
  func token(of bytes: ArraySlice<UInt8>) -> Int? { numbers.number(bytes) }

  /// Whether a token is no part of a text.
  public func isSpecial(_ token: Int) -> Bool {
    kinds[token] == .control || kinds[token] == .unknown
  }
}
