public import Tensors

/// The gradients of a block's keys and values, to which every rank that sees the block adds.
///
/// They are `Float` whatever the block's element type is, and lie in rows, not in panels: nothing
/// computes on them but additions.
public struct KeyValueGradient: ~Copyable {
  /// `[batch, keys, kvHeads, headDim]`, keys in the order of the block's runs.
  public var dk: Tensor<Float>

  /// `[batch, keys, kvHeads, valueHeadDim]`.
  public var dv: Tensor<Float>

  /// Creates zeros for a block of `keys` keys.
  public init(shape: AttentionShape, keys: Int) {
    dk = Tensor(zeros: [shape.batch, keys, shape.kvHeads, shape.headDim])
    dv = Tensor(zeros: [shape.batch, keys, shape.kvHeads, shape.valueHeadDim])
  }
}
