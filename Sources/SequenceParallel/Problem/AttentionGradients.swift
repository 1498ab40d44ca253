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
  public let dv: Tensor<Float>

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
  ///   - positions: what has turned them.
  ///   - queries: the positions of the rank's queries.
  ///   - keys: those of its keys.
  ///   - offset: `keyTokens − tokens`.
  public mutating func turnBack(
    by positions: RotaryPositions, queries: [PositionRange], keys: [PositionRange],
    offset: Int = 0
  ) {
    positions.turn(&dq, runs: queries, offset: offset, backwards: true)
    positions.turn(&dk, runs: keys, backwards: true)
  }
}
