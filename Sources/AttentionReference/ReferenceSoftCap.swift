import Glibc

/// `X tanh(s / X)`.
public struct ReferenceSoftCap: ReferenceScoreRule {
  /// X.
  public let limit: Double

  /// Creates the rule.
  public init(limit: Double) {
    self.limit = limit
  }

  /// `X tanh(s / X)`.
  public func score(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double {
    limit * tanh(s / limit)
  }

  /// `1 / cosh²(s / X)`.
  public func slope(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double {
    1 / (cosh(s / limit) * cosh(s / limit))
  }
}
