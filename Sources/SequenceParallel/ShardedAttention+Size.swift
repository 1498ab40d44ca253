import Attention
import Sharding
public import Tensors

extension ShardedAttention {
  /// `[batch, tokens, queryHeads, valueHeadDim]` of the whole sequence.
  public var outputShape: Shape {
    [shape.batch, queries.tokens, shape.queryHeads, shape.valueHeadDim]
  }

  /// `[batch, queryHeads, tokens]` of the whole sequence.
  public var logSumExpShape: Shape {
    [shape.batch, shape.queryHeads, queries.tokens]
  }

  /// The (query, key) pairs that a rank's queries see, over all heads and sequences.
  public func visiblePairs(rank: Int) -> Int {
    let pairs = pattern.visiblePairs(
      keys: [PositionRange(0..<keys.tokens)], queries: queries.shards[rank])
    return pairs * shape.queryHeads * shape.batch
  }

  /// The bytes of each rank's own block, which are what a hop moves.
  public var blockBytes: [Int] {
    keys.shards.indices.map {
      KeyValueBlock.byteCount(keys: keys.tokenCount(of: $0), shape: shape, elementType: wire)
    }
  }

  /// The bytes that the tensors of a rank take.
  ///
  /// These are queries, outputs, log-sum-exps and row sums, and the two blocks of the ring. As a `Double`, since it may be asked of problems that fit nowhere.
  public func residentBytes(rank: Int) -> Double {
    let tokens = Double(queries.tokenCount(of: rank))
    let row = Double(shape.queryHeads * (shape.headDim + shape.valueHeadDim + 2))
    let key = Double(
      shape.kvHeads
        * wire.bytesPerToken(headDim: shape.headDim, valueHeadDim: shape.valueHeadDim))
    let blocks = keys.ranks > 1 ? 2.0 : 1.0
    return Double(shape.batch)
      * (tokens * row * 4 + blocks * Double(keys.largestTokenCount) * key)
  }
}
