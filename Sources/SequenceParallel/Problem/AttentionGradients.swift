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
  }
}
