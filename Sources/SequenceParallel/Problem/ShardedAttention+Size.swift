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
  func grid(of transport: Transport) -> HeadGrid? {
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
  /// These are queries, outputs, log-sum-exps and row sums, what rounding takes from the results of
  /// queries, and the blocks and results that the transport keeps; for the backward pass as much again
  /// for the queries' side, the blocks and gradients of its own route, and the gradients of keys and
  /// values that are given back. As a `Double`, since it may be asked of problems that fit nowhere.
  ///
  /// - Parameter backwardRoute: of the backward pass; automatic is the larger of both.
  /// - Precondition: the transport can serve these ranks.
  public func residentBytes(
    rank: Int, transport: Transport, gradients: Bool, backwardRoute: BackwardRoute = .automatic
  ) -> Double {
    if let grid = grid(of: transport) {
      return residentBytes(rank: rank, grid: grid, gradients: gradients)
    }
    if gradients, backwardRoute == .automatic {
      return [BackwardRoute.keys, .queries].map {
        residentBytes(
          rank: rank, transport: transport, gradients: true, backwardRoute: $0)
      }.reduce(0, max)
    }
    let (headDim, valueHeadDim) = (Double(shape.headDim), Double(shape.valueHeadDim))
    let others = Double(
      transport == .allgather ? ranks - 1 : transport == .shared ? 0 : min(2, ranks - 1))
    let sum = accumulation == .fast ? 4.0 : 16.0
    // Results have a place for the own block, and four more where anything travels.
    let results = (others > 0 ? 5 : 1) * sum

    let key = Double(shape.kvHeads) * (headDim + valueHeadDim)
    // Bytes of a row that stays, of one that passes by, and of a key and value.
    var ownRow = 4 * (headDim + valueHeadDim + 2) * (gradients ? 2 : 1)
    var row = 0.0
    // Reproducible sums beside the floats that come of them, or what rounding takes from fast ones.
    // These are of one pass at a time, and where queries travel of those that are here.
    let remainders = (
      forward: 4 * (valueHeadDim + 1),
      // In the forward pass there are no gradients of queries yet.
      backward: 4 * max(headDim, valueHeadDim - headDim)
    )
    let keysTravelForward = transport != .query
    let keysTravelBackward = backwardRoute != .queries
    if accumulation == .reproducible {
      ownRow += sum * (valueHeadDim + 1 + (gradients ? headDim : 0))
    } else if gradients {
      if keysTravelBackward { ownRow += remainders.backward } else { row += remainders.backward }
    } else if keysTravelForward {
      ownRow += remainders.forward
    } else {
      row += remainders.forward
    }
    var token = Double(
      shape.kvHeads
        * wire.bytesPerToken(headDim: shape.headDim, valueHeadDim: shape.valueHeadDim))
    if keysTravelForward || gradients && keysTravelBackward { token *= 1 + others }
    if !keysTravelForward {
      row += 4 * (1 + others) * headDim + results * (valueHeadDim + 2)
    }
    if gradients {
      // Those that are given back, out of the stream's memory.
      token += 4 * key
      switch backwardRoute {
      case .queries:
        row += 4 * (1 + others) * (headDim + valueHeadDim + 3) + results * headDim
        token += sum * key
      default: token += results * key
      }
    }
    return Double(shape.batch)
      * (Double(shape.queryHeads)
        * (Double(queries.tokenCount(of: rank)) * ownRow
          + Double(queries.largestTokenCount) * row)
        + Double(keys.largestTokenCount) * token)
  }
}
