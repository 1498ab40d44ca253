/// What becomes of a scaled score, in `Double`: the twin of a score rule of the kernels.
public protocol ReferenceScoreRule: Sendable {
  /// `f(s)` of the score of a query and a key, by their positions.
  func score(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double

  /// `f′(s)`.
  func slope(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double

  /// How the score changes with the query beside by way of `s`, `[headDim]`; nil if it does not.
  func queryGradient(batch: Int, query: Int, key: Int, head: Int) -> [Double]?
}

extension ReferenceScoreRule {
  /// It does not.
  public func queryGradient(batch: Int, query: Int, key: Int, head: Int) -> [Double]? { nil }
}
