public import Compute

/// One rule after the other: `f(s) = g(h(s))`, `f′(s) = g′(h(s)) h′(s)`.
@frozen
public struct ChainedRules<First: ScoreRule, Second: ScoreRule>: ScoreRule {
  /// h.
  public let first: First
  /// g.
  public let second: Second

  @usableFromInline
  init(_ first: First, _ second: Second) {
    self.first = first
    self.second = second
  }

  /// Whether both are.
  public var isShift: Bool { first.isShift && second.isShift }

  /// Asks both.
  @inlinable @inline(__always)
  public func change(
    _ scores: Vector, at place: ScorePlace
  ) -> (score: Vector, slope: Vector) {
    let inner = first.change(scores, at: place)
    let outer = second.change(inner.score, at: place)
    return (outer.score, outer.slope * inner.slope)
  }
}

extension ScoreRule {
  /// This rule, and then another one on what it gives.
  ///
  /// Both are compiled into one loop.
  @inlinable
  public func then<Next: ScoreRule>(_ next: Next) -> ChainedRules<Self, Next> {
    ChainedRules(self, next)
  }
}
