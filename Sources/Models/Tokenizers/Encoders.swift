/// Splits a stretch of text without special tokens into tokens.
protocol TextEncoder: Sendable {
  /// Appends the tokens of valid UTF-8.
  func encode(_ text: ArraySlice<UInt8>, into tokens: inout [Int])
}

/// The tokens for bytes that no token has: one for each byte, or one for all.
struct UnknownBytes: Sendable {
  let bytes: [Int32]
  let unknown: Int?
  /// Whether several unknown characters in a row are one token.
  let isFused: Bool

  func encode(_ text: ArraySlice<UInt8>, into tokens: inout [Int]) {
    if text.allSatisfy({ bytes[Int($0)] >= 0 }) {
      for byte in text { tokens.append(Int(bytes[Int(byte)])) }
    } else if let unknown, !(isFused && tokens.last == unknown) {
      tokens.append(unknown)
    }
  }
}

/// Byte pair encoding that begins with bytes, in words that a pre-tokenizer finds.
struct ByteLevelEncoder: TextEncoder {
  let vocabulary: Vocabulary
  let merges: MergeTable
  let preTokenizer: PreTokenizer
  /// Whether texts are brought into Unicode's form NFC first.
  let normalizes: Bool
  /// Whether a word that is a token as a whole is not split by merges.
  let takesWholeWords: Bool

  /// The token of each byte.
  let firstTokens: [Int32]

  /// Words longer than this are not remembered: they seldom come again.
  private static let longestKept = 32
  private static let mostKept = 1 << 16

  private struct Rule: MergeRule {
    let merges: MergeTable

    func merge(_ left: Int32, _ right: Int32, text: ArraySlice<UInt8>) -> MergeTable.Merge? {
      merges.merge(left, right)
    }
  }

  func encode(_ text: ArraySlice<UInt8>, into tokens: inout [Int]) {
    let text = ClassifiedText(normalizes ? composed(Array(text))[...] : text)
    var known = ByteStringMap(capacity: min(Self.mostKept, text.bytes.count / 4))
    // Where the tokens of a known word are in `tokens`.
    var places: [Range<Int>] = []
    var merging = PairMerging()
    let rule = Rule(merges: merges)
    preTokenizer.words(of: text) { range in
      let word = text.bytes(range)
      if word.count <= Self.longestKept, let number = known.number(word) {
        for place in places[number] { tokens.append(tokens[place]) }
        return
      }
      let start = tokens.count
      if takesWholeWords, let token = vocabulary.token(of: word) {
        tokens.append(token)
      } else {
        merging.encode(word, rule: rule) { symbol in
          // Bytes that the model has no token for are left out, as its own tokenizer does.
          for byte in word where firstTokens[Int(byte)] >= 0 { symbol(firstTokens[Int(byte)], 1) }
        } _: { token, _ in
          tokens.append(Int(token))
        }
      }
      if word.count <= Self.longestKept, !known.isFull {
        _ = known.insert(word)
        places.append(start..<tokens.count)
      }
    }
  }
}

/// Byte pair encoding that begins with characters, over a whole text, as SentencePiece has it.
struct CharacterEncoder<Rule: MergeRule & Sendable>: TextEncoder {
  let vocabulary: Vocabulary
  let rule: Rule
  let unknown: UnknownBytes

  func encode(_ text: ArraySlice<UInt8>, into tokens: inout [Int]) {
    var merging = PairMerging()
    merging.encode(text, rule: rule) { symbol in
      var start = text.startIndex
      while start < text.endIndex {
        var end = start + 1
        while end < text.endIndex, text[end] & 0xC0 == 0x80 { end += 1 }
        symbol(Int32(vocabulary.token(of: text[start..<end]) ?? -1), end - start)
        start = end
      }
    } _: { token, bytes in
      if token >= 0 { tokens.append(Int(token)) } else { unknown.encode(bytes, into: &tokens) }
    }
  }
}

/// Joins what together is a token, the ones with the highest score first.
struct ScoredMerges: MergeRule, Sendable {
  let vocabulary: Vocabulary
  /// The order of each token's score: 0 for the highest, and the same for equal ones.
  private let ranks: [Int32]

  init(vocabulary: Vocabulary, scores: [Double]) {
    self.vocabulary = vocabulary
    var ranks = [Int32](repeating: 0, count: scores.count)
    var rank: Int32 = 0
    var last: Double?
    for token in scores.indices.sorted(by: { scores[$0] > scores[$1] }) {
      if let last, scores[token] < last { rank += 1 }
      last = scores[token]
      ranks[token] = rank
    }
    self.ranks = ranks
  }

  func merge(_ left: Int32, _ right: Int32, text: ArraySlice<UInt8>) -> MergeTable.Merge? {
    vocabulary.token(of: text).map { MergeTable.Merge(rank: ranks[$0], token: Int32($0)) }
  }
}

/// Joins what a list of merges says, the first ones first.
struct ListedMerges: MergeRule, Sendable {
  let merges: MergeTable

  func merge(_ left: Int32, _ right: Int32, text: ArraySlice<UInt8>) -> MergeTable.Merge? {
    left < 0 || right < 0 ? nil : merges.merge(left, right)
  }
}
