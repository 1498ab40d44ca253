import Attention
import Sharding

extension ShardedAttention {
  /// The bytes that the tensors of a rank of a grid take at most: its own tensors and block, the
  /// blocks and gradients of its heads as on a ring of its column, and whatever is largest of what
  /// comes and goes: packed heads, tensors of its heads, gradients on their way home.
  func residentBytes(rank: Int, grid: HeadGrid, gradients: Bool) -> Double {
    let (row, column) = grid.place(of: rank)
    let shares = grid.shares(of: shape)
    let members = grid.members(ofRow: row)
    let dims = Double(shape.headDim + shape.valueHeadDim)
    let wide = Double(max(shape.headDim, shape.valueHeadDim))
    // A query, or a key, of one head; bytes of each.
    let own = Double(queries.tokenCount(of: rank)) * Double(shape.queryHeads)
    let inner =
      members.reduce(0) { $0 + Double(queries.tokenCount(of: $1)) }
      * Double(shares[column].queryHeads.count)
    let side = (dims + 2) * (gradients ? 8 : 4)
    let sums = accumulation == .fast ? 4 * (wide + 1) : 16 * wide + 32
    let ownKeys = Double(keys.tokenCount(of: rank))
    let packedKeys = ownKeys * Double(shares.reduce(0) { $0 + $1.kvHeads.count })
    let innerKeys =
      Double(keys.grouped(by: grid.columns).largestTokenCount)
      * Double(shares[column].kvHeads.count)
    let token = Double(
      wire.bytesPerToken(headDim: shape.headDim, valueHeadDim: shape.valueHeadDim))
    let gradient = !gradients ? 0 : accumulation == .fast ? dims * 4 : dims * 16 + 16
    let travelling = Double(min(2, grid.rows - 1))

    let staying =
      own * side + ownKeys * Double(shape.kvHeads) * token
      + innerKeys * ((1 + travelling) * token + (travelling > 0 ? 5 : 1) * gradient)
    let packed = (own + inner) * wide * 4
    let returning =
      packed + (packedKeys + innerKeys) * gradient
      + ownKeys * Double(shape.kvHeads) * (gradient + (gradients ? dims * 4 : 0))
    let passing = max(packedKeys * token, inner * (side + sums) + packed, returning)
    return Double(shape.batch) * (staying + passing)
  }
}
