import Attention
import Sharding
public import Tensors

extension ShardedAttention {
  /// `[batch, tokens, queryHeads, headDim]` of the whole sequence.
  public var queryShape: Shape { [shape.batch, queries.tokens, shape.queryHeads, shape.headDim] }

  /// `[batch, keyTokens, kvHeads, headDim]` of the whole sequence.
  public var keyShape: Shape { [shape.batch, keys.tokens, shape.kvHeads, shape.headDim] }

  /// `[batch, keyTokens, kvHeads, valueHeadDim]` of the whole sequence.
  public var valueShape: Shape { [shape.batch, keys.tokens, shape.kvHeads, shape.valueHeadDim] }

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

  /// The (query, key) pairs that a rank computes, over all its heads and sequences.
  ///
  /// - Precondition: the transport can serve these ranks.
  public func computedPairs(rank: Int, transport: Transport) -> Int {
    guard let grid = grid(of: transport) else { return visiblePairs(rank: rank) }
    let (row, column) = grid.place(of: rank)
    return part(column: column, of: grid)?.visiblePairs(rank: row) ?? 0
  }

  /// How ranks share the heads; nil if each has all of them.
  private func grid(of transport: Transport) -> HeadGrid? {
    guard let grid = try? transport.grid(ranks: ranks), grid.columns > 1 else { return nil }
    return grid
  }

  /// The bytes of each rank's own block, which are what a hop moves.
  public var blockBytes: [Int] {
    keys.shards.indices.map {
      KeyValueBlock.byteCount(keys: keys.tokenCount(of: $0), shape: shape, elementType: wire)
    }
  }

  /// The bytes that the tensors of a rank take at most.
  ///
  /// These are queries, outputs, log-sum-exps and row sums, and the blocks that the transport keeps;
  /// for the backward pass as much again for the queries' side, and the gradients of as many blocks
  /// and more. As a `Double`, since it may be asked of problems that fit nowhere.
  ///
  /// - Precondition: the transport can serve these ranks.
  public func residentBytes(rank: Int, transport: Transport, gradients: Bool) -> Double {
    if let grid = grid(of: transport) {
      return residentBytes(rank: rank, grid: grid, gradients: gradients)
    }
    let tokens = Double(queries.tokenCount(of: rank))
    let row = Double(shape.queryHeads * (shape.headDim + shape.valueHeadDim + 2))
    let key = Double(shape.kvHeads * (shape.headDim + shape.valueHeadDim))
    let others = Double(
      transport == .allgather ? ranks - 1 : transport == .shared ? 0 : min(2, ranks - 1))
    let token = Double(
      shape.kvHeads
        * wire.bytesPerToken(headDim: shape.headDim, valueHeadDim: shape.valueHeadDim))
    let blocks = (1 + others) * token
    let results = gradients ? (others > 0 ? 5.0 : 1.0) * key * 4 : 0
    return Double(shape.batch)
      * (tokens * row * (gradients ? 8 : 4)
        + Double(keys.largestTokenCount) * (blocks + results))
  }
}
