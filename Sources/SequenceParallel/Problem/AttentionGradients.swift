public import Attention
public import Tensors

/// The gradients of a rank's own queries, keys and values.
///
/// Frozen, so that other modules can take the tensors out without a copy.
@frozen
public struct AttentionGradients: ~Copyable {
  /// `[batch, tokens, queryHeads, headDim]`.
  public var dq: Tensor<Float>
  /// `[batch, keys, kvHeads, headDim]`, keys in the order of the shard's runs.
  public var dk: Tensor<Float>
  /// `[batch, keys, kvHeads, valueHeadDim]`.
  public var dv: Tensor<Float>
  /// Those of learned sinks, of all ranks together, `[queryHeads]`; nil if there are none.
  public var dsinks: [Float]?
  /// Those of what global tokens are computed with, if they have projections of their own.
  public var ofGlobals: ProjectionGradients?

  /// Takes the three tensors.
  public init(
    dq: consuming Tensor<Float>, dk: consuming Tensor<Float>, dv: consuming Tensor<Float>
  ) {
    self.dq = dq
    self.dk = dk
    self.dv = dv
  }

  /// Makes gradients of turned queries and keys those of queries and keys as they were.
  ///
  /// - Parameters:
  ///   - rotation: what has turned them.
  ///   - queries: the indices of the rank's queries, and where queries stand.
  ///   - keys: the same of keys.
  public mutating func turnBack(
    by rotation: RotaryPositions, queries: (runs: [PositionRange], positions: TokenPositions),
    keys: (runs: [PositionRange], positions: TokenPositions)
  ) {
    rotation.turn(&dq, runs: queries.runs, positions: queries.positions, backwards: true)
    rotation.turn(&dk, runs: keys.runs, positions: keys.positions, backwards: true)
    guard var own = ofGlobals.take() else { return }
    rotation.turn(&own.dq, runs: queries.runs, positions: queries.positions, backwards: true)
    rotation.turn(&own.dk, runs: keys.runs, positions: keys.positions, backwards: true)
    ofGlobals = consume own
  }
}

/// The gradients of a rank's own rows of the tensors that global tokens are computed with.
@frozen
public struct ProjectionGradients: ~Copyable {
  /// `[batch, tokens, queryHeads, headDim]`, zeros but for global tokens.
  public var dq: Tensor<Float>
  /// `[batch, keys, kvHeads, headDim]`.
  public var dk: Tensor<Float>
  /// `[batch, keys, kvHeads, valueHeadDim]`.
  public var dv: Tensor<Float>

  /// Takes the three tensors.
  public init(
    dq: consuming Tensor<Float>, dk: consuming Tensor<Float>, dv: consuming Tensor<Float>
  ) {
    self.dq = dq
    self.dk = dk
    self.dv = dv
  }
}
