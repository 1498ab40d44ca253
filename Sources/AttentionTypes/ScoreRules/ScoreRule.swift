public import Compute

/// What becomes of a scaled score before the softmax: `s ← f(s)`.
///
/// `lse_i = ln Σ_j exp f(s_ij)` and `o_i = Σ_j exp(f(s_ij) − lse_i) v_j` over the keys that the
/// pattern shows; backward, the chain rule has one more factor,
/// `ds_ij = p_ij (do_i·v_j − Δ_i) f′(s_ij)`. A rule may depend on the head and on the positions of
/// query and key. What a pattern adds or hides comes after it.
///
/// A rule is a value in one file: its formula, its derivative, what it costs and where it comes
/// from. Kernels ask it once for a register tile or more, so that ``change(_:at:)`` is inlined in a
/// loop of its own; without a rule they run the code that they always ran. Its twin in `Double` is
/// a `ReferenceScoreRule`, which shares no code with it.
///
/// Docs/Extend-ScoreRule.md goes through one.
public protocol ScoreRule: Sendable {
  /// Computes a vector of changed scores and their derivatives.
  ///
  /// It is called by all threads at once, and must give the same bits for the same scores. Where
  /// derivatives are not wanted what only they need is left out by the compiler.
  ///
  /// - Parameters:
  ///   - scores: `scale · q·k` in natural-log units, neighbouring keys of one query.
  ///   - place: whose scores they are.
  /// - Returns: `f(s)` and `f′(s)`, both finite where `s` is.
  func change(_ scores: Vector, at place: ScorePlace) -> (score: Vector, slope: Vector)

  /// Changes all scores of a tile in place.
  ///
  /// There is an implementation for all rules, compiled anew for each; few need another.
  func apply(to tile: ScoreTile)

  /// Whether `f′ = 1` everywhere, as for what is only added to scores: derivatives are then neither
  /// asked for nor multiplied.
  var isShift: Bool { get }

  /// Whether the rule has parameters whose gradients are those of the scores that it gives.
  ///
  /// Such a rule is a shift, and so are those after it.
  var takesGradients: Bool { get }

  /// Takes the gradients of the scores of a tile, each once a backward pass.
  ///
  /// It is called by all threads at once, for different tiles.
  func takeGradients(_ tile: ScoreTile)
}

extension ScoreRule {
  /// It is not, as far as anybody knows.
  public var isShift: Bool { false }

  /// It has none.
  public var takesGradients: Bool { false }

  /// Does nothing.
  public func takeGradients(_ tile: ScoreTile) {}
}

/// Whose scores a vector holds.
@frozen
public struct ScorePlace {
  /// The sequence of the batch.
  public var batch: Int
  /// The query head in the whole problem.
  public var head: Int
  /// The global position of the query.
  public var query: Int
  /// The global position of the first key.
  public var firstKey: Int
  /// How far neighbouring keys are apart.
  public var keyStride: Int
  /// Keys in the vector.
  ///
  /// Lanes past them may hold anything, and what becomes of them is not used.
  public var count: Int

  package init(
    batch: Int, head: Int, query: Int, firstKey: Int, keyStride: Int, count: Int
  ) {
    self.batch = batch
    self.head = head
    self.query = query
    self.firstKey = firstKey
    self.keyStride = keyStride
    self.count = count
  }

  /// How far the query is past each key, `query − key`.
  @inlinable @inline(__always)
  public var distances: Vector {
    Vector(repeating: Float(query - firstKey)) - Vector.lanes * Float(keyStride)
  }
}
