/// How a text is cut into words, which byte pair encoding then splits: the regular expressions of
/// known models, by hand.
///
/// With `A` for `'s|'t|'re|'ve|'m|'ll|'d`:
///
/// - `gpt2`: `A`, ` ?\p{L}+`, ` ?\p{N}+`, ` ?[^\s\p{L}\p{N}]+`, `\s+(?!\S)`, `\s+`.
/// - `mpt`, also called `olmo`: as `gpt2`, of texts in Unicode's form NFC, as GPT-NeoX's tokenizer
///   has them.
/// - `smollm`: each number by itself; between them as `gpt2`.
/// - `qwen2`: `(?i:A)`, `[^\r\n\p{L}\p{N}]?\p{L}+`, `\p{N}`, ` ?[^\s\p{L}\p{N}]+[\r\n]*`,
///   `\s*[\r\n]+`, `\s+(?!\S)`, `\s+`.
/// - `llama3`: as `qwen2`, with `\p{N}{1,3}`.
/// - `o200k`: letters go by case, `B?C*D+A?` and then `B?C+D*A?`, with `B` for
///   `[^\r\n\p{L}\p{N}]`, `C` for `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`, `D` for
///   `[\p{Ll}\p{Lm}\p{Lo}\p{M}]` and `A` as in `qwen2`; then as `llama3`, with
///   `[\r\n/]*` after what is none of all.
package enum PreTokenizer: String, CaseIterable, Sendable {
  case gpt2 = "gpt-2"
  case mpt
  case smollm
  case qwen2
  case llama3 = "llama-bpe"
  case o200k = "gpt-4o"

  /// The pre-tokenizer that GGUF files have a name for; nil if it is none of these.
  package init?(ggufName name: String) {
    switch name {
    case "llama3", "llama-v3": self = .llama3
    case "deepseek-r1-qwen": self = .qwen2
    case "olmo": self = .mpt
    default: self.init(rawValue: name)
    }
  }

  /// Whether a word that is a token as a whole is not split by merges.
  var takesWholeWords: Bool { self == .llama3 }

  /// Whether texts are brought into Unicode's form NFC first.
  var normalizes: Bool { self == .qwen2 || self == .mpt }

  /// The words of valid UTF-8.
  package func words(of text: [UInt8]) -> [[UInt8]] {
    let classified = ClassifiedText(text[...])
    var words: [[UInt8]] = []
    self.words(of: classified) { words.append(Array(classified.bytes($0))) }
    return words
  }

  /// Calls `visit` with the characters of each word, in order, which are all characters.
  ///
  /// - Complexity: O(text).
  func words(of text: ClassifiedText, _ visit: (Range<Int>) -> Void) {
    switch self {
    case .gpt2, .mpt: Self.plainWords(text, 0..<text.count, visit)
    case .smollm:
      var start = 0
      while start < text.count {
        var end = start
        while end < text.count, text.classes[end] != .number { end += 1 }
        Self.plainWords(text, start..<end, visit)
        while end < text.count, text.classes[end] == .number {
          visit(end..<end + 1)
          end += 1
        }
        start = end
      }
    case .qwen2: Self.codeWords(text, numbers: 1, visit)
    case .llama3: Self.codeWords(text, numbers: 3, visit)
    case .o200k:
      var start = 0
      while start < text.count {
        let next = Self.casedWord(text, start)
        visit(start..<next)
        start = next
      }
    }
  }

  /// The expression of GPT-2 over some characters that are taken for a whole text.
  private static func plainWords(
    _ text: ClassifiedText, _ range: Range<Int>, _ visit: (Range<Int>) -> Void
  ) {
    let end = range.upperBound
    var start = range.lowerBound
    while start < end {
      let contraction = contraction(text, start, end, ignoringCase: false)
      // A space goes with a word of one class, but other white space does not.
      var body = start
      if text.scalars[start] == " ", start + 1 < end, !text.classes[start + 1].isSpace { body += 1 }
      var next: Int
      if contraction > 0 {
        next = start + contraction
      } else if text.classes[body].isSpace {
        next = spaces(text, start, end)
      } else {
        next = body + 1
        while next < end, text.classes[next] == text.classes[body] { next += 1 }
      }
      visit(start..<next)
      start = next
    }
  }

  /// The expression of Qwen2 and Llama 3, with at most `numbers` numbers in a word.
  private static func codeWords(
    _ text: ClassifiedText, numbers: Int, _ visit: (Range<Int>) -> Void
  ) {
    let end = text.count
    var start = 0
    while start < end {
      let next = codeWord(text, start, end, numbers: numbers)
      visit(start..<next)
      start = next
    }
  }

  /// Where the word that begins at `start` ends.
  private static func codeWord(
    _ text: ClassifiedText, _ start: Int, _ end: Int, numbers: Int
  ) -> Int {
    let contraction = contraction(text, start, end, ignoringCase: true)
    if contraction > 0 { return start + contraction }
    let classes = text.classes
    let first = classes[start]
    let follower = start + 1 < end ? classes[start + 1] : nil
    if first == .letter || first != .newline && first != .number && follower == .letter {
      var next = start + 1
      while next < end, classes[next] == .letter { next += 1 }
      return next
    }
    return codeRest(text, start, end, numbers: numbers)
  }

  /// Where a word of anything but letters ends.
  static func codeRest(
    _ text: ClassifiedText, _ start: Int, _ end: Int, numbers: Int
  ) -> Int {
    let classes = text.classes
    let first = classes[start]
    let follower = start + 1 < end ? classes[start + 1] : nil
    if first == .number {
      var next = start + 1
      while next < end, next < start + numbers, classes[next] == .number { next += 1 }
      return next
    }
    if first == .other || text.scalars[start] == " " && follower == .other {
      var next = start + 1
      while next < end, classes[next] == .other { next += 1 }
      while next < end, classes[next] == .newline { next += 1 }
      return next
    }
    // White space up to its last end of line, if it has one.
    var (next, lastNewline) = (start, start)
    while next < end, classes[next].isSpace {
      next += 1
      if classes[next - 1] == .newline { lastNewline = next }
    }
    return lastNewline > start ? lastNewline : spaces(text, start, end)
  }

  /// The end of white space from `start` on: its last character is left to a word that follows.
  private static func spaces(_ text: ClassifiedText, _ start: Int, _ end: Int) -> Int {
    var next = start
    while next < end, text.classes[next].isSpace { next += 1 }
    return next < end && next > start + 1 ? next - 1 : next
  }

  /// The characters of `'s`, `'t`, `'re`, `'ve`, `'m`, `'ll` or `'d` at `start`; 0 if it is none.
  static func contraction(
    _ text: ClassifiedText, _ start: Int, _ end: Int, ignoringCase: Bool
  ) -> Int {
    guard text.scalars[start] == "'", start + 1 < end else { return 0 }
    func letter(_ index: Int) -> Unicode.Scalar {
      let scalar = text.scalars[index]
      guard ignoringCase else { return scalar }
      // The long s is an s where case does not count.
      if scalar == "\u{17F}" { return "s" }
      return scalar.value >= 0x41 && scalar.value <= 0x5A
        ? Unicode.Scalar(UInt8(scalar.value + 0x20)) : scalar
    }
    let first = letter(start + 1)
    if first == "s" || first == "t" || first == "m" || first == "d" { return 2 }
    guard start + 2 < end else { return 0 }
    let second = letter(start + 2)
    let isPair =
      (first == "r" || first == "v") && second == "e" || first == "l" && second == "l"
    return isPair ? 3 : 0
  }
}
