import Attention
import Sharding

extension ShardedDilatedAttention {
  /// The bytes that the tensors of a rank take at most, without the queries of a single segment
  /// that it computes for others.
  ///
  /// These are queries, keys, values and outputs, with gradients as much again and the queries'
  /// side once more, and six rounds of rows.
  ///
  /// - Parameter roundBytes: of ``DilatedAttention/Options``.
  public func residentBytes(
    rank: Int, gradients: Bool, roundBytes: Int = DilatedAttention.Options().roundBytes
  ) -> Double {
    let columns = Double(shape.headDim + shape.valueHeadDim)
    let row = Double(shape.queryHeads) * (columns + 3) + Double(shape.kvHeads) * columns
    let tokens = Double(shape.batch) * Double(sharding.tokenCount(of: rank))
    return tokens * row * 4 * (gradients ? 3 : 1) + 6 * Double(roundBytes)
  }
}
