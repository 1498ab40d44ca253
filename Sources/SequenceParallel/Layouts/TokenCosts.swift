import Attention
import Tensors

/// What the tokens of a sequence cost under a pattern, and which keys they need: found out from
/// queries here and there.
///
/// The sequence is cut into strata of equal length, one query of each is asked for the keys that it
/// sees, and its neighbours are taken to see as many. Every rank finds the same.
struct TokenCosts {
  /// Queries of the sequence.
  let tokens: Int
  /// Tokens of a stratum; the last may be shorter.
  private let stratum: Int
  /// For each stratum, the cost of all tokens before it, and at the end of all.
  private let before: [Double]
  /// For each stratum, the keys that its query sees.
  let seen: [[SeenKeys]]

  /// Asks a pattern.
  ///
  /// Where sequences or heads see differently, up to eight of them are asked for each stratum, all
  /// in turn.
  ///
  /// - Complexity: about fifty questions for each of ``samples(ranks:)`` queries, for a mask with
  ///   a few edges.
  init(
    _ pattern: any AttentionPattern, shape: AttentionShape, tokens: Int, keyTokens: Int, ranks: Int
  ) {
    self.tokens = tokens
    let places =
      (pattern.dependsOnBatch ? shape.batch : 1) * (pattern.dependsOnHead ? shape.queryHeads : 1)
    let asked = min(places, 8)
    let samples = Self.samples(ranks: ranks) / asked
    let stratum = max(1, (tokens + samples - 1) / samples)
    self.stratum = stratum
    let keys = PositionRange(0..<keyTokens)
    var before = [0.0]
    var seen: [[SeenKeys]] = []
    for (index, start) in Swift.stride(from: 0, to: tokens, by: stratum).enumerated() {
      let count = min(stratum, tokens - start)
      // By the golden ratio, so that masks that repeat themselves are met at all phases.
      let share = (Double(index) * 0.618_033_988_749_894_9).truncatingRemainder(dividingBy: 1)
      let query = start + min(count - 1, Int(share * Double(count)))
      let row = pattern.seenKeys(of: query, among: keys, questions: 512, precision: 0.005)
      seen.append(row)
      var pairs = 0.0
      for turn in 0..<(places == 1 ? 0 : asked) {
        let place = (index * asked + turn) % places
        let (batch, head) =
          pattern.dependsOnHead
          ? place.quotientAndRemainder(dividingBy: shape.queryHeads)
          : (place, 0)
        pairs +=
          pattern.seenKeys(
            of: query, among: keys, in: (batch, shape.firstQueryHead + head), questions: 512,
            precision: 0.005
          ).reduce(0) { $0 + $1.count } / Double(asked)
      }
      if places == 1 { pairs = row.reduce(0) { $0 + $1.count } }
      // What a token costs besides: its row, its key and value.
      before.append(before[index] + (pairs + 1) * Double(count))
    }
    self.before = before
    self.seen = seen
  }

  /// How many queries are asked.
  static func samples(ranks: Int) -> Int { max(8192, 8 * ranks) }

  /// The cost of some tokens, in pairs.
  func cost(_ range: Range<Int>) -> Double {
    cost(until: range.upperBound) - cost(until: range.lowerBound)
  }

  private func cost(until position: Int) -> Double {
    let index = position / stratum
    guard index + 1 < before.count else { return before[before.count - 1] }
    let length = min(stratum, tokens - index * stratum)
    let share = Double(position - index * stratum) / Double(length)
    return before[index] + share * (before[index + 1] - before[index])
  }

  /// The strata that some tokens lie in.
  func strata(of range: Range<Int>) -> Range<Int> {
    range.isEmpty
      ? 0..<0 : range.lowerBound / stratum..<(range.upperBound - 1) / stratum + 1
  }

  /// From which key to which the queries of a stratum see, part by part; wider by a stratum, as
  /// far as what its other queries see may lie from what this one sees.
  func reach(of index: Int, keyTokens: Int) -> [Range<Int>] {
    seen[index].map { part in
      let end = (part.keys.last ?? part.keys.start) + 1
      return max(0, part.keys.start - stratum + 1)..<min(keyTokens, end + stratum - 1)
    }
  }
}
