public import Tensors

/// The gradients of a rank's own queries, keys and values.
///
/// Frozen, so that other modules can take the tensors out without a copy.
@frozen
public struct AttentionGradients: ~Copyable {
  /// `[batch, tokens, queryHeads, headDim]`.
  public let dq: Tensor<Float>
  /// `[batch, keys, kvHeads, headDim]`, keys in the order of the shard's runs.
  public let dk: Tensor<Float>
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
}
