/// Takes the longest token that the rest of a text begins with, again and again, as RWKV's "World"
/// models do.
struct LongestTokenEncoder: TextEncoder {
  private let vocabulary: Vocabulary
  private let unknown: Int?
  /// The most bytes of the tokens that begin with two given ones, by both as one number.
  private let longest: [UInt16]

  init(vocabulary: Vocabulary, unknown: Int?) {
    (self.vocabulary, self.unknown) = (vocabulary, unknown)
    var longest = [UInt16](repeating: 1, count: 1 << 16)
    for token in 0..<vocabulary.count where vocabulary.kinds[token] == .normal {
      let bytes = vocabulary.tokens[token]
      guard bytes.count > 1 else { continue }
      let place = Self.place(bytes, bytes.startIndex)
      longest[place] = max(longest[place], UInt16(clamping: bytes.count))
    }
    self.longest = longest
  }

  private static func place(_ text: ArraySlice<UInt8>, _ start: Int) -> Int {
    Int(text[start]) << 8 | Int(text[start + 1])
  }

  /// - Complexity: O(text · longest token²) at worst; nearly always far less.
  func encode(_ text: ArraySlice<UInt8>, into tokens: inout [Int]) {
    var start = text.startIndex
    while start < text.endIndex {
      let rest = text.endIndex - start
      var count = rest > 1 ? min(rest, Int(longest[Self.place(text, start)])) : 1
      while count > 0 {
        if let token = vocabulary.token(of: text[start..<start + count]) {
          tokens.append(token)
          break
        }
        count -= 1
      }
      // A byte that no token begins with.
      if count == 0, let unknown { tokens.append(unknown) }
      start += max(1, count)
    }
  }
}
