import Attention
import Sharding

extension ShardedAttention {
  /// The bytes that a rank of a grid sends in one pass, rows' exchanges and columns' rings together.
  ///
  /// With A columns that divide query heads H and KV heads, B rows, no block left out, and shards of
  /// n tokens, whose keys and values are κ bytes a token, a sequence costs
  ///
  /// - forward `(A − 1)/A · n · (4 · H · (D + Dv + 2) + κ) + (B − 1) · n · κ`: queries and blocks go
  ///   out, outputs come back with their log-sum-exps in two floats;
  /// - backward `(A − 1)/A · n · (4 · H · (2 · D + 2 · Dv + 2) + γ) + (B − 1) · n · (κ + γ)`: queries,
  ///   outputs and their gradients go out, `dq`, `dk` and `dv` come back, where γ are the bytes of
  ///   the gradients of a key and its value, which is `4 · kvHeads · (D + Dv)` unless sums are
  ///   reproducible.
  package func bytesSent(by rank: Int, on grid: HeadGrid, backward: Bool) -> Int {
    let (row, column) = grid.place(of: rank)
    let shares = grid.shares(of: shape)
    let others = grid.members(ofRow: row).filter { $0 != rank }
    let otherShares = shares.enumerated().filter { $0.offset != column }.map(\.element)
    /// Floats of each query and head, out and back.
    let (out, back) =
      backward
      ? (shape.headDim + 2 * shape.valueHeadDim + 2, shape.headDim)
      : (shape.headDim, shape.valueHeadDim + 2)
    let outRows = queries.tokenCount(of: rank) * otherShares.reduce(0) { $0 + $1.queryHeads.count }
    let backRows =
      others.reduce(0) { $0 + queries.tokenCount(of: $1) } * shares[column].queryHeads.count
    var sum = shape.batch * (outRows * out + backRows * back) * MemoryLayout<Float>.stride
    if backward {
      sum += others.reduce(0) {
        $0 + shares[column].gradientBytes(keys: keys.tokenCount(of: $1), accumulation)
      }
    } else {
      sum += otherShares.reduce(0) {
        $0 + $1.blockBytes(keys: keys.tokenCount(of: rank), wire: wire)
      }
    }
    guard let part = part(column: column, of: grid) else { return sum }
    let results = part.keys.shards.indices.map {
      backward
        ? shares[column].gradientBytes(keys: part.keys.tokenCount(of: $0), accumulation) : 0
    }
    return sum
      + part.ringSchedule().bytesSent(by: row, blocks: part.blockBytes, results: results)
  }
}
