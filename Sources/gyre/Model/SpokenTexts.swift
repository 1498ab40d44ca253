/// What several samples of one prompt say, printed one text after the other: the first as it comes,
/// each later one when those before it have ended.
struct SpokenTexts {
  private var texts: [SpokenText]
  private let titles: [String]
  /// The sample that is printed as it comes.
  private var current = 0
  private var hasEnded: [Bool]

  /// Takes where samples go.
  ///
  /// - Parameter titles: printed before each; empty of a text that is the only one.
  init(_ text: SpokenText, titles: [String]) {
    texts = Array(repeating: text, count: titles.count)
    self.titles = titles
    hasEnded = Array(repeating: false, count: titles.count)
  }

  /// What a sample has said so far.
  func text(of sample: Int) -> String { texts[sample].text }

  /// Prints what comes before all.
  mutating func begin() throws { try texts[0].show(under: titles[0]) }

  /// Takes a token of a sample.
  mutating func take(_ token: Int, of sample: Int) throws -> Ending {
    try texts[sample].take(token)
  }

  /// Ends a sample, and goes on with the next that has not ended.
  mutating func finish(_ sample: Int) throws {
    try texts[sample].finish()
    hasEnded[sample] = true
    while current < texts.count, hasEnded[current] {
      current += 1
      if current < texts.count { try texts[current].show(under: titles[current]) }
    }
  }
}
