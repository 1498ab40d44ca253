/// Rules one after the other.
public struct ReferenceRuleSequence: ReferenceScoreRule {
  /// In the order in which scores meet them.
  public let rules: [any ReferenceScoreRule]

  /// Puts rules in a row.
  public init(_ rules: [any ReferenceScoreRule]) {
    self.rules = rules
  }

  /// What the last makes of what those before it make of the score.
  public func score(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double {
    var score = s
    for rule in rules {
      score = rule.score(score, batch: batch, query: query, key: key, head: head)
    }
    return score
  }

  /// By the chain rule.
  public func slope(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double {
    var (score, slope) = (s, 1.0)
    for rule in rules {
      slope *= rule.slope(score, batch: batch, query: query, key: key, head: head)
      score = rule.score(score, batch: batch, query: query, key: key, head: head)
    }
    return slope
  }

  /// That of the one that knows the query; those after it are shifts.
  public func queryGradient(batch: Int, query: Int, key: Int, head: Int) -> [Double]? {
    rules.lazy.compactMap {
      $0.queryGradient(batch: batch, query: query, key: key, head: head)
    }.first
  }
}
