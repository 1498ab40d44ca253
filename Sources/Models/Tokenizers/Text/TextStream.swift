/// Text from tokens that come one by one: a character is held back until all its bytes are there.
public struct TextStream {
  private let tokenizer: Tokenizer
  private let skipsSpecial: Bool
  private var rest: [UInt8] = []

  /// Begins with nothing held back.
  ///
  /// - Parameters:
  ///   - tokenizer: Whose tokens will come.
  ///   - skippingSpecial: Whether tokens that steer the model are left out.
  public init(_ tokenizer: Tokenizer, skippingSpecial: Bool = true) {
    self.tokenizer = tokenizer
    skipsSpecial = skippingSpecial
  }

  /// Adds a token, and returns the characters that are whole now.
  ///
  /// Bytes that can be no part of a character become U+FFFD.
  public mutating func append(_ token: Int) -> String {
    if skipsSpecial, tokenizer.vocabulary.isSpecial(token) { return "" }
    rest.append(contentsOf: tokenizer.bytes(of: token))
    let whole = rest.count - Self.unfinished(rest)
    defer { rest.removeFirst(whole) }
    return String(decoding: rest[..<whole], as: UTF8.self)
  }

  /// What is still held back, as U+FFFD.
  public mutating func finish() -> String {
    defer { rest = [] }
    return String(decoding: rest, as: UTF8.self)
  }

  /// How many bytes at the end are the beginning of a character of which more may come.
  static func unfinished(_ bytes: [UInt8]) -> Int {
    for count in 1...3 where count <= bytes.count {
      let byte = bytes[bytes.count - count]
      if byte & 0xC0 == 0x80 { continue }
      let length = byte >= 0xF0 && byte < 0xF5 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC2 ? 2 : 1
      guard byte < 0xF5, length > count else { return 0 }
      // A second byte that makes the first invalid ends what could become a character.
      let tail = Array(bytes.suffix(count)) + Array(repeating: 0x80, count: length - count)
      let candidates = [tail] + (count == 1 ? [0x90, 0xA0].map { Self.second(tail, $0) } : [])
      return candidates.contains { String(validating: $0, as: UTF8.self) != nil } ? count : 0
    }
    return 0
  }

  private static func second(_ bytes: [UInt8], _ byte: UInt8) -> [UInt8] {
    var bytes = bytes
    if bytes.count > 1 { bytes[1] = byte }
    return bytes
  }
}
