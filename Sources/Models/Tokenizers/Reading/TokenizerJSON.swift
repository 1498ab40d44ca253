import Reporting
import Tensors

/// What a `tokenizer.json` says, not yet made into anything.
///
/// Vocabularies are read byte by byte in UTF-8: Swift's `String`s, and so dictionaries of them,
/// take an accented letter and a letter with an accent after it for the same.
struct TokenizerJSON {
  /// `BPE` or `Unigram`; empty where the file does not say.
  var type = ""
  /// Tokens with their numbers.
  var vocabulary: [(token: [UInt8], number: Int)] = []
  /// Of each token in `vocabulary`; none if the type has no scores.
  var scores: [Double] = []
  var merges: [(left: [UInt8], right: [UInt8])] = []
  /// The members of `model` beside these.
  var options: [String: JSONValue] = [:]
  /// The members of the file beside `model`.
  var settings: [String: JSONValue] = [:]

  /// Parses the bytes of a file.
  init(_ bytes: [UInt8]) throws(HeaderTextError) {
    var text = HeaderText(bytes)
    text.skipSpace()
    var found = TokenizerJSON()
    try text.readObject("at the start") { (text, key) throws(HeaderTextError) in
      if key == "model" {
        try found.readModel(&text)
      } else {
        found.settings[key] = try Self.value(&text)
      }
    }
    self = found
  }

  private init() {}

  private mutating func readModel(_ text: inout HeaderText) throws(HeaderTextError) {
    var found = self
    try text.readObject("to begin the model") { (text, key) throws(HeaderTextError) in
      switch key {
      case "type": found.type = try text.readString("of a type")
      case "vocab" where text.next == UInt8(ascii: "["): try found.readScoredVocabulary(&text)
      case "vocab": try found.readVocabulary(&text)
      case "merges": try found.readMerges(&text)
      default: found.options[key] = try Self.value(&text)
      }
    }
    self = found
  }

  /// Reads `{"token": number, …}`.
  private mutating func readVocabulary(_ text: inout HeaderText) throws(HeaderTextError) {
    var vocabulary: [(token: [UInt8], number: Int)] = []
    try text.readObject("to begin the vocabulary", allowingRepeats: true) {
      (text, key) throws(HeaderTextError) in
      vocabulary.append((Array(key.utf8), try text.takeWholeNumber()))
    }
    self.vocabulary = vocabulary
  }

  /// Reads `[["token", score], …]`.
  private mutating func readScoredVocabulary(_ text: inout HeaderText) throws(HeaderTextError) {
    var (vocabulary, scores): ([(token: [UInt8], number: Int)], [Double]) = ([], [])
    try text.readList("to begin the vocabulary") { (text) throws(HeaderTextError) in
      var isToken = true
      try text.readList("to begin a token") { (text) throws(HeaderTextError) in
        if isToken {
          vocabulary.append((Array(try text.readString("of a token").utf8), vocabulary.count))
        } else {
          scores.append(try text.readNumber())
        }
        isToken = false
      }
      guard scores.count == vocabulary.count else { throw text.error("a token without one score") }
    }
    (self.vocabulary, self.scores) = (vocabulary, scores)
  }

  /// Reads `["left right", …]` or `[["left", "right"], …]`.
  private mutating func readMerges(_ text: inout HeaderText) throws(HeaderTextError) {
    var merges: [(left: [UInt8], right: [UInt8])] = []
    try text.readList("to begin the merges") { (text) throws(HeaderTextError) in
      let start = text.offset
      var parts: [[UInt8]] = []
      if text.next == UInt8(ascii: "[") {
        try text.readList("to begin a merge") { (text) throws(HeaderTextError) in
          parts.append(Array(try text.readString("of a token").utf8))
        }
      } else {
        let merge = Array(try text.readString("of a merge").utf8)
        if let space = merge.dropFirst().firstIndex(of: 0x20) {
          parts = [Array(merge[..<space]), Array(merge[(space + 1)...])]
        }
      }
      guard parts.count == 2 else { throw text.error("a merge that is no two tokens", at: start) }
      merges.append((parts[0], parts[1]))
    }
    self.merges = merges
  }

  /// A value that is small.
  private static func value(_ text: inout HeaderText) throws(HeaderTextError) -> JSONValue {
    let start = text.offset
    try text.skipValue()
    guard let value = try? JSONValue(parsing: text.text(start..<text.offset)) else {
      throw text.error("a value that cannot be read", at: start)
    }
    return value
  }
}
