import Attention
import Foundation
import Tensors
import Testing

/// A choice of masks is what it says: in reports, in options, to kernels and to checks.
@Suite("Choices of patterns")
struct PatternChoiceTests {
  private struct Row: Codable {
    let tokens: Int
  }

  private func json(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }

  @Test("a report has a field for each mask, chosen or not, beside its own")
  func fields() throws {
    #expect(PatternChoice.fields == ["causal"])
    let rows = [PatternChoice.full, .causal].map { WithPattern($0, Row(tokens: 7)) }
    #expect(try json(rows) == #"[{"causal":false,"tokens":7},{"causal":true,"tokens":7}]"#)
    #expect(rows[1].tokens == 7)
    #expect(PatternChoice.causal.options == ["--causal": "true"])
    #expect(PatternChoice.full.options == ["--causal": "false"])
    #expect("\(PatternChoice.full) \(PatternChoice.causal)" == "full causal")
  }

  @Test("a choice is found again among the fields of a row")
  func decoding() throws {
    func choice(_ text: String) -> PatternChoice? {
      try? JSONDecoder().decode(PatternChoice.self, from: Data(text.utf8))
    }
    #expect(choice(#"{"tokens":7,"causal":true}"#) == .causal)
    #expect(choice(#"{"causal":false,"tokens":7}"#) == .full)
    for text in ["{}", #"{"causal":null}"#, #"{"causal":1}"#, #"{"causal":"true"}"#] {
      #expect(choice(text) == nil, "\(text)")
    }
  }

  @Test("choices are the same where their masks are")
  func equality() {
    #expect(PatternChoice([CausalMask(), CausalMask()]) == .causal)
    #expect(PatternChoice([]) == .full && PatternChoice.full != .causal)
    #expect(Set([PatternChoice.full, .causal, .full]).count == 2)
    #expect(PatternChoice.causal.isCausal && !PatternChoice.full.isCausal)
  }

  @Test(
    "kernels are given what the definition says, however many queries and keys there are",
    arguments: [(9, 9), (5, 9), (9, 5), (1, 12), (1, 1)])
  func patterns(tokens: Int, keyTokens: Int) {
    for choice in [PatternChoice.full, .causal] {
      let pattern = choice.pattern(tokens: tokens, keyTokens: keyTokens)
      let bias = choice.bias(tokens: tokens, keyTokens: keyTokens)
      let (keys, queries) = (PositionRange(0..<keyTokens), PositionRange(0..<tokens))
      var written = [Float](repeating: .nan, count: tokens * keyTokens)
      var span = written.mutableSpan
      pattern.fill(&span, keys: keys, queries: queries, head: 0)
      let defined = queries.flatMap { i in keys.map { j in Float(bias(i, j, 0)) } }
      #expect(written == defined)
      let visible = defined.count { $0 == 0 }
      #expect(pattern.visiblePairs(keys: keys, queries: queries) == visible)
      if tokens == keyTokens { #expect(choice.pairs(tokens: tokens) == Double(visible)) }
    }
    // Bottom right: the last query sees every key.
    let causal = PatternChoice.causal.bias(tokens: tokens, keyTokens: keyTokens)
    #expect((0..<keyTokens).allSatisfy { causal(tokens - 1, $0, 0) == 0 })
  }

  @Test("of patterns over each other a pair needs all, and what they add is added up")
  func intersection() {
    let problem = Problem(tokens: 275, queryHeads: 2, kvHeads: 1, headDim: 16)
    let pattern = IntersectedPattern([
      LinearBias(), PredicateMask.scattered, CausalPattern(offset: -3),
    ])
    #expect(pattern.hasBias)
    let result = problem.computed(pattern: pattern)
    let expected = problem.expected { i, j, head in
      j <= i - 3 && PredicateMask.scattered.sees(i, j)
        ? -Double(LinearBias.slope(head)) * Double(i - j) : -.infinity
    }
    #expect(relativeError(result.o, expected.o) < 1e-5)
    #expect(relativeError(result.lse, expected.lse) < 1e-5)
    let masks = IntersectedPattern([PredicateMask.sinkAndWindow, CausalPattern(offset: -3)])
    #expect(!masks.hasBias)
    let ranges = [0..<4, 0..<20, 4..<30, 40..<41, 7..<7].map { PositionRange($0) }
    for keys in ranges {
      for queries in ranges {
        let sees = { (i: Int, j: Int) in PredicateMask.sinkAndWindow.sees(i, j) && j <= i - 3 }
        let count = queries.reduce(0) { sum, i in sum + keys.count { sees(i, $0) } }
        #expect(masks.visiblePairs(keys: keys, queries: queries) == count)
      }
    }
  }
}
