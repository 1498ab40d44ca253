public import Compute

/// Keeps scores between −X and X: `f(s) = X tanh(s / X)`, `f′(s) = 1 − tanh²(s / X)`.
///
/// Small scores stay as they are, large ones come near the limit. The scores of a row then differ
/// by 2X at most, and no key is ever without weight.
///
/// Cost: one hyperbolic tangent a score, 11 multiply–adds and a division for each vector of them.
///
/// Source: Gemma Team 2024, Gemma 2, section 2 (logit soft-capping).
@frozen
public struct SoftCap: ScoreRule {
  /// X.
  public let limit: Float
  @usableFromInline let inverse: Float

  /// Creates the rule.
  ///
  /// - Precondition: the limit is positive, and it and its inverse are normal numbers.
  public init(limit: Float) {
    precondition(limit > 0 && limit.isNormal && (1 / limit).isNormal, "a soft cap of \(limit)")
    self.limit = limit
    inverse = 1 / limit
  }

  /// Computes `X t` and `1 − t²` of `t = tanh(s / X)`.
  @inlinable @inline(__always)
  public func change(
    _ scores: Vector, at place: ScorePlace
  ) -> (score: Vector, slope: Vector) {
    let t = tanh(scores * inverse)
    return (t * limit, Vector(repeating: 1) - t * t)
  }
}
