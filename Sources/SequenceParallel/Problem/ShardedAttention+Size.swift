import Attention
import Sharding
import Tensors

extension ShardedAttention {
  /// The (query, key) pairs that a rank's queries see, over all heads and sequences.
  public func visiblePairs(rank: Int) -> Int {
    pattern.visiblePairs(
      keys: [PositionRange(0..<keys.tokens)], queries: queries.shards[rank], shape: shape)
  }

  /// The bytes of each rank's own block, which are what a hop moves at most.
  public var blockBytes: [Int] {
    keys.shards.indices.map {
      KeyValueBlock.byteCount(keys: keys.tokenCount(of: $0), shape: shape, elementType: wire)
    }
  }

  /// The bytes of the queries, keys, values and outputs of a rank: less than any run of it takes.
  ///
  /// As a `Double`, since it may be asked of problems that fit nowhere.
  public func leastBytes(rank: Int) -> Double {
    let queries = Double(queries.tokenCount(of: rank)) * Double(shape.queryHeads)
    let keys = Double(keys.tokenCount(of: rank)) * Double(shape.kvHeads)
    return Double(shape.batch)
      * (queries * 4 * Double(shape.headDim + shape.valueHeadDim)
        + keys
        * Double(wire.bytesPerToken(headDim: shape.headDim, valueHeadDim: shape.valueHeadDim)))
  }
}
