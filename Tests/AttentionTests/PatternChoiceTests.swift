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
    let others = [
      "window", "sinks", "globals", "segments", "padding", "block-mask", "parallel-windows", "star",
      "etc-radius",
    ]
    #expect(PatternChoice.fields == ["causal"] + others)
    let rows = [PatternChoice.full, .causal].map { WithPattern($0, Row(tokens: 7)) }
    for (row, isCausal) in zip(rows, [false, true]) {
      let fields =
        [("tokens", "7"), ("causal", "\(isCausal)")] + others.map { ($0, "null") }
      let sorted = fields.sorted { $0.0 < $1.0 }.map { "\"\($0.0)\":\($0.1)" }
      #expect(try json(row) == "{" + sorted.joined(separator: ",") + "}")
    }
    #expect(rows[1].tokens == 7)
    let none = Dictionary(uniqueKeysWithValues: others.map { ("--\($0)", "none") })
    #expect(PatternChoice.causal.options == none.merging(["--causal": "true"]) { $1 })
    #expect(PatternChoice.full.options == none.merging(["--causal": "false"]) { $1 })
    #expect("\(PatternChoice.full) \(PatternChoice.causal)" == "full causal")
    #expect(
      try json(Self.window(8, 2)).contains(#""globals":"0,4-6""#)
        && json(Self.window(8, 2)).contains(#""window":"8x2""#))
    #expect("\(Self.window(8, 2))" == "causal, window 8x2, 3 sinks, globals 0,4-6")
    #expect(try json(PatternChoice([WindowMask(width: 8)])).contains(#""window":8"#))
  }

  /// All masks at once.
  private static func window(_ width: Int, _ dilation: Int = 1) -> PatternChoice {
    PatternChoice([
      CausalMask(), WindowMask(width: width, dilation: dilation), SinkMask(count: 3),
      GlobalMask(tokens: [4..<6, 0..<1, 6..<7]),
    ])
  }

  @Test("a choice is found again among the fields of a row")
  func decoding() throws {
    func choice(_ text: String) -> PatternChoice? {
      try? JSONDecoder().decode(PatternChoice.self, from: Data(text.utf8))
    }
    #expect(choice(#"{"tokens":7,"causal":true}"#) == .causal)
    #expect(choice(#"{"causal":false,"tokens":7}"#) == .full)
    for chosen in [Self.window(8), Self.window(8, 2), PatternChoice([WindowMask(width: 1)])] {
      #expect(choice(try json(chosen)) == chosen)
    }
    let wrong = [
      "{}", #"{"causal":null}"#, #"{"causal":1}"#, #"{"causal":"true"}"#,
      #"{"causal":true,"window":0}"#, #"{"causal":true,"window":"8"}"#,
      #"{"causal":true,"window":"0x2"}"#, #"{"causal":true,"sinks":-1}"#,
      #"{"causal":true,"globals":"3-"}"#, #"{"causal":true,"globals":"7-3"}"#,
      #"{"causal":true,"globals":""}"#,
    ]
    for text in wrong { #expect(choice(text) == nil, "\(text)") }
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
    let windows = [
      PatternChoice([WindowMask(width: 3)]), PatternChoice([WindowMask(width: 2, dilation: 3)]),
      PatternChoice([CausalMask(), WindowMask(width: 1)]),
      PatternChoice([CausalMask(), WindowMask(width: 4, dilation: 2)]), Self.window(2),
      Self.window(2, 3), PatternChoice([WindowMask(width: 2), SinkMask(count: 2)]),
      PatternChoice([WindowMask(width: 1), GlobalMask(tokens: [3..<4, 8..<9])]),
      PatternChoice([WindowMask(width: .max, dilation: .max)]),
      // Nothing that they could show is hidden.
      PatternChoice([SinkMask(count: 2), GlobalMask(tokens: [3..<4])]),
    ]
    for choice in [PatternChoice.full, .causal] + windows {
      let pattern = choice.pattern(tokens: tokens, keyTokens: keyTokens)
      let bias = choice.bias(MaskInputs(tokens: tokens, keyTokens: keyTokens))
      let (keys, queries) = (PositionRange(0..<keyTokens), PositionRange(0..<tokens))
      var written = [Float](repeating: .nan, count: tokens * keyTokens)
      var span = written.mutableSpan
      pattern.fill(&span, keys: keys, queries: queries, batch: 0, head: 0)
      let defined = queries.flatMap { i in keys.map { j in Float(bias(0, i, j, 0)) } }
      #expect(written == defined)
      let visible = defined.count { $0 == 0 }
      #expect(pattern.visiblePairs(keys: keys, queries: queries) == visible)
      if tokens == keyTokens { #expect(choice.pairs(tokens: tokens) == Double(visible)) }
    }
    // Bottom right: the last query sees every key.
    let causal = PatternChoice.causal.bias(
      MaskInputs(tokens: tokens, keyTokens: keyTokens))
    #expect((0..<keyTokens).allSatisfy { causal(0, tokens - 1, $0, 0) == 0 })
  }

  @Test("what is promised of rectangles of any stride is true of every pair")
  func coverage() {
    let (tokens, keyTokens) = (37, 41)
    var random = SystemRandomNumberGenerator()
    func range(_ count: Int) -> PositionRange {
      let start = Int.random(in: 0..<count, using: &random)
      let stride = Int.random(in: 1...7, using: &random)
      let most = (count - start + stride - 1) / stride
      return PositionRange(start: start, stride: stride, count: .random(in: 1...most))
    }
    var (sharp, blunt) = (0, 0)
    for choice in [Self.window(5), Self.window(3, 2), Self.window(4, 3), .causal] {
      let masks = choice.masks
      for masks in [
        masks, masks.filter { !($0 is CausalMask) }, masks.filter { !($0 is SinkMask) },
      ] {
        let choice = PatternChoice(masks)
        let pattern = choice.pattern(tokens: tokens, keyTokens: keyTokens)
        let bias = choice.bias(MaskInputs(tokens: tokens, keyTokens: keyTokens))
        for _ in 0..<500 {
          let (keys, queries) = (range(keyTokens), range(tokens))
          let seen = queries.reduce(0) { sum, i in sum + keys.count { bias(0, i, $0, 0) == 0 } }
          let isUniform = seen == 0 || seen == keys.count * queries.count
          switch pattern.coverage(keys: keys, queries: queries) {
          case .none: #expect(seen == 0, "\(choice): \(keys) of \(queries)")
          case .all: #expect(seen == keys.count * queries.count, "\(choice)")
          case .some: if isUniform { blunt += 1 }
          }
          if isUniform { sharp += 1 }
          #expect(pattern.visiblePairs(keys: keys, queries: queries) == seen, "\(choice)")
        }
      }
    }
    // A pattern that is unsure is right as well, and slow.
    #expect(Double(blunt) < 0.2 * Double(sharp), "\(blunt) of \(sharp)")
  }

  @Test("with runs of its dilation a window is as sharp as without gaps")
  func period() {
    let window = PatternChoice([CausalMask(), WindowMask(width: 4, dilation: 6)])
    func period(_ choice: PatternChoice) -> Int {
      choice.pattern(tokens: 600, keyTokens: 600).period
    }
    #expect(period(window) == 6 && period(.causal) == 1 && period(Self.window(2, 3)) == 3)
    let pattern = window.pattern(tokens: 600, keyTokens: 600)
    let runs = PositionRange(0..<600).strided(by: 6)
    #expect(runs.map(\.count) == Array(repeating: 100, count: 6))
    for (a, keys) in runs.enumerated() {
      for (b, queries) in runs.enumerated() {
        #expect((pattern.coverage(keys: keys, queries: queries) == .none) == (a != b))
      }
      #expect(
        pattern.coverage(keys: keys.slice(40..<42), queries: keys.slice(42..<44)) == .all)
    }
  }

  @Test("global tokens are read as they are written")
  func globals() {
    #expect(GlobalMask("9-12,0,5,10-14")?.tokens == [0..<1, 5..<6, 9..<15])
    #expect(GlobalMask("9-12,0,5,10-14").map { "\($0)" } == "0,5,9-14")
    for text in ["", ",", "1,", "-1", "3-", "1-2-3", "a", "4-3", "1 2"] {
      #expect(GlobalMask(text) == nil, "\(text)")
    }
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
