/// The most likely way to split a text into tokens whose logarithms of probabilities are known
/// (Kudo, arXiv 1804.10959), by Viterbi's algorithm.
struct UnigramEncoder: TextEncoder {
  private let vocabulary: Vocabulary
  private let scores: [Float]
  private let unknown: UnknownBytes
  private let longest: Int

  /// What a character that is no token costs: 10 more than the least likely token.
  private let unknownScore: Float

  init(vocabulary: Vocabulary, scores: [Double], unknown: UnknownBytes) {
    self.vocabulary = vocabulary
    self.unknown = unknown
    longest = (0..<vocabulary.count).map { vocabulary.tokens[$0].count }.max() ?? 0
    let normal = scores.indices.filter { vocabulary.kinds[$0] == .normal }.map { Float(scores[$0]) }
    unknownScore = (normal.min() ?? 0) - 10
    let highest = max(normal.max() ?? 0, 0)
    self.scores = scores.indices.map { token in
      // A text's own tokens are always worth it, as SentencePiece has it.
      vocabulary.kinds[token] == .userDefined
        ? Float(vocabulary.tokens[token].count) * highest - 0.1 : Float(scores[token])
    }
  }

  /// The best way to the end of a prefix of the text.
  private struct Way {
    var score = -Float.infinity
    var start = 0
    /// −1 for a character that is no token.
    var token = -1
  }

  /// - Complexity: O(text · longest token).
  func encode(_ text: ArraySlice<UInt8>, into tokens: inout [Int]) {
    let text = Array(text)
    var ways = [Way](repeating: Way(), count: text.count + 1)
    ways[0].score = 0
    var start = 0
    while start < text.count {
      var character = start + 1
      while character < text.count, text[character] & 0xC0 == 0x80 { character += 1 }
      var end = character
      var hasCharacter = false
      while end <= text.count, end - start <= longest {
        if let token = vocabulary.token(of: text[start..<end]), vocabulary.kinds[token] != .byte,
          !vocabulary.isSpecial(token)
        {
          hasCharacter = hasCharacter || end == character
          offer(&ways, from: start, to: end, token, scores[token])
        }
        repeat { end += 1 } while end < text.count && text[end] & 0xC0 == 0x80
      }
      if !hasCharacter { offer(&ways, from: start, to: character, -1, unknownScore) }
      start = character
    }
    var steps: [Way] = []
    var ends: [Int] = []
    var end = text.count
    while end > 0 {
      steps.append(ways[end])
      ends.append(end)
      end = ways[end].start
    }
    for (way, end) in zip(steps, ends).reversed() {
      if way.token >= 0 {
        tokens.append(way.token)
      } else {
        unknown.encode(text[way.start..<end], into: &tokens)
      }
    }
  }

  private func offer(
    _ ways: inout [Way], from start: Int, to end: Int, _ token: Int, _ score: Float
  ) {
    // Of equal ways the rounding decides: sums are `Float`, as SentencePiece has them.
    let sum = ways[start].score + score
    if sum > ways[end].score { ways[end] = Way(score: sum, start: start, token: token) }
  }
}
