/// The tensors that the backward pass reads rows of.
@unsafe
package struct BackwardRows {
  package let queries: UnsafePointer<Float>
  package let outputGradient: UnsafePointer<Float>
  package let lse: UnsafePointer<Float>
  package let lseRemainder: UnsafePointer<Float>
  package let delta: UnsafePointer<Float>

  package init(
    queries: UnsafePointer<Float>, outputGradient: UnsafePointer<Float>,
    lse: UnsafePointer<Float>, lseRemainder: UnsafePointer<Float>, delta: UnsafePointer<Float>
  ) {
    unsafe self.queries = queries
    unsafe self.outputGradient = outputGradient
    unsafe self.lse = lse
    unsafe self.lseRemainder = lseRemainder
    unsafe self.delta = delta
  }

  /// The rows of one head from one token on.
  ///
  /// - Parameter tokens: those of the shard.
  package func from(
    batch: Int, head: Int, token: Int, of tokens: Int, shape: AttentionShape
  ) -> BackwardRows {
    let row = (batch * tokens + token) * shape.queryHeads + head
    let state = (batch * shape.queryHeads + head) * tokens + token
    return unsafe BackwardRows(
      queries: queries + row * shape.headDim,
      outputGradient: outputGradient + row * shape.valueHeadDim,
      lse: lse + state, lseRemainder: lseRemainder + state, delta: delta + state)
  }
}
