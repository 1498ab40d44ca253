/// What becomes of a scaled score, in `Double`: the twin of a score rule of the kernels.
public protocol ReferenceScoreRule: Sendable {
  /// `f(s)` of the score of a query and a key, by their positions.
  func score(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double

  /// `f′(s)`.
  func slope(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double
}
