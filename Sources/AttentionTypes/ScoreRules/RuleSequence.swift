public import Compute

/// Rules one after the other, chosen when the program runs: `f = f_n ∘ … ∘ f_1`.
///
/// Each goes through a tile in a loop of its own, compiled for it. Rules that are known when the
/// program is compiled share a loop: ``ScoreRule/then(_:)``.
public struct RuleSequence: ScoreRule {
  /// In the order in which scores meet them.
  public let rules: [any ScoreRule]

  /// Puts rules in a row.
  public init(_ rules: [any ScoreRule]) {
    self.rules = rules
  }

  /// Rules as one: nil for none, and a single one as it is.
  public static func joining(_ rules: [(any ScoreRule)?]) -> (any ScoreRule)? {
    let rules = rules.compactMap { $0 }
    return rules.count > 1 ? RuleSequence(rules) : rules.first
  }

  /// Whether all are.
  public var isShift: Bool { rules.allSatisfy(\.isShift) }

  /// Whether one does.
  public var takesGradients: Bool { rules.contains { $0.takesGradients } }

  /// Gives them to those that take them.
  public func takeGradients(_ tile: ScoreTile) {
    for rule in rules where rule.takesGradients { rule.takeGradients(tile) }
  }

  /// Asks each in turn; the derivatives are multiplied.
  public func change(
    _ scores: Vector, at place: ScorePlace
  ) -> (score: Vector, slope: Vector) {
    rules.reduce((scores, Vector(repeating: 1))) { sofar, rule in
      let next = rule.change(sofar.0, at: place)
      return (next.score, sofar.1 * next.slope)
    }
  }

  /// Lets each change the tile in turn.
  public func apply(to tile: ScoreTile) {
    var tile = tile
    for rule in rules {
      rule.apply(to: tile)
      tile.hasSlopes = true
    }
  }
}
