import AttentionTypes
public import Tensors

/// What attention gives.
///
/// Frozen, so that other modules can take the tensors out without a copy.
@frozen
public struct AttentionOutput: ~Copyable {
  /// `[batch, tokens, queryHeads, valueHeadDim]`.
  public let o: Tensor<Float>

  /// Natural-log log-sum-exp of the scores, `[batch, queryHeads, tokens]`.
  public let lse: Tensor<Float>

  /// What rounding took from ``lse``, in its shape.
  ///
  /// The backward pass needs it: with scores in the hundreds a weight `exp(score − lse)` is only as
  /// exact as the log-sum-exp, and the last bit of that is already 10⁻⁴ of the weight.
  package let lseRemainder: Tensor<Float>

  /// Takes both tensors.
  public init(o: consuming Tensor<Float>, lse: consuming Tensor<Float>) {
    let remainder = Tensor<Float>(zeros: lse.shape)
    self.init(o: o, lse: lse, lseRemainder: remainder)
  }

  /// Takes all three tensors.
  package init(
    o: consuming Tensor<Float>, lse: consuming Tensor<Float>,
    lseRemainder: consuming Tensor<Float>
  ) {
    self.o = o
    self.lse = lse
    self.lseRemainder = lseRemainder
  }
}
