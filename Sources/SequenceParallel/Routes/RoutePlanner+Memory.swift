import Attention
import Sharding

extension RoutePlanner {
  /// The bytes that the tensors of each rank take at most.
  ///
  /// These are queries, outputs, log-sum-exps and row sums, what rounding takes from the results of
  /// queries, and the blocks and results that streams keep; for the backward pass as much again for
  /// the queries' side, the blocks and results of its own stream, and the gradients of keys and
  /// values that are given back. Where ranks share heads, also whatever is largest of what comes
  /// and goes.
  ///
  /// - Parameters:
  ///   - route: of the forward pass, which can serve these ranks.
  ///   - backward: of the backward pass; nil if there is none.
  /// - Complexity: O(P).
  public func residentBytes(on route: Route, backward: Route?) -> [Double] {
    guard let grid = try? route.grid(ranks: problem.ranks) else {
      preconditionFailure("\(route) cannot serve \(problem.ranks) ranks")
    }
    if grid.columns == 1 {
      let streams = streamBytes(on: route, backward: backward)
      let rows = rowBytes(on: route, backward: backward)
      return rows.indices.map {
        rows[$0] + streams[$0] + (backward == nil ? 0 : givenBack(rank: $0))
      }
    }
    var bytes = exchangeBytes(grid, gradients: backward != nil)
    for (columns, planner) in columns(of: grid) {
      let streams = planner.streamBytes(on: route, backward: backward)
      for column in columns {
        for row in 0..<grid.rows { bytes[row * grid.columns + column] += streams[row] }
      }
    }
    return bytes
  }

  /// What the streams of both passes keep of blocks and results, and the rank's own keys, values
  /// and their gradients where those are in no stream.
  private func streamBytes(on route: Route, backward: Route?) -> [Double] {
    let forward = streamTraffic(on: route, .forward)
    var bytes = zip(forward.blockBytes, forward.resultBytes).map { $0 + $1 }
    var keysAreInStream = route.travelling == .keys
    let keys = TravellingBytes(
      .keys, .backward, shape: problem.shape, wire: problem.wire,
      accumulation: problem.accumulation)
    if let backward {
      let stream = streamTraffic(on: backward, .backward)
      // Keys that travel the same way in both passes are the same stream.
      let isShared = backward == route && route.travelling == .keys
      for rank in bytes.indices {
        bytes[rank] += (isShared ? 0 : stream.blockBytes[rank]) + stream.resultBytes[rank]
        if backward.travelling == .queries {
          bytes[rank] += Double(problem.keys.tokenCount(of: rank)) * Double(keys.result)
        }
      }
      keysAreInStream = keysAreInStream || backward.travelling == .keys
    }
    if !keysAreInStream {
      for rank in bytes.indices {
        bytes[rank] += Double(problem.keys.tokenCount(of: rank)) * Double(keys.block)
      }
    }
    return bytes
  }

  /// Queries with all that belongs to them, of ranks that have all heads.
  ///
  /// Queries that travel in several parcels are copied parcel by parcel, with the gradients of
  /// their outputs.
  private func rowBytes(on route: Route, backward: Route?) -> [Double] {
    let shape = problem.shape
    let (headDim, valueHeadDim) = (Double(shape.headDim), Double(shape.valueHeadDim))
    var own = 4 * (headDim + valueHeadDim + 2) * (backward == nil ? 1 : 2)
    // Of the block that is here, where queries travel.
    var passing = 0.0
    switch problem.accumulation {
    case .reproducible:
      // Reproducible sums beside the floats that come of them.
      own += 16 * (valueHeadDim + 1 + (backward == nil ? 0 : headDim))
    case .fast:
      // What rounding takes from sums, of one pass at a time; in the forward pass there are no
      // gradients of queries yet.
      let pass = backward ?? route
      let remainders =
        backward == nil ? 4 * (valueHeadDim + 1) : 4 * max(headDim, valueHeadDim - headDim)
      if pass.travelling == .keys { own += remainders } else { passing += remainders }
    }
    let heads = Double(shape.batch) * Double(shape.queryHeads)
    let most = Double(problem.queries.largestTokenCount)
    let travels = [route, backward].contains { $0?.travelling == .queries }
    let copied =
      !travels
      ? 0
      : 4 * (backward == nil ? max(headDim, valueHeadDim + 2) : headDim + 2 * valueHeadDim + 2)
    return problem.queries.shards.map { runs in
      let tokens = runs.tokenCount
      // All parcels but one have at most what is left by the shortest run.
      let parcel = runs.count > 1 ? tokens - (runs.map(\.count).min() ?? 0) : 0
      return heads * (Double(tokens) * own + most * passing + Double(parcel) * copied)
    }
  }

  /// The gradients of a rank's keys and values, out of the stream's memory.
  private func givenBack(rank: Int) -> Double {
    let shape = problem.shape
    return Double(shape.batch) * Double(shape.kvHeads)
      * Double(shape.headDim + shape.valueHeadDim) * 4
      * Double(problem.keys.tokenCount(of: rank))
  }

  /// What the ranks of a grid have beside the streams of their columns: their own tensors and
  /// blocks, and whatever is largest of what comes and goes, which is packed heads, tensors of
  /// their heads, or gradients on their way home.
  private func exchangeBytes(_ grid: HeadGrid, gradients: Bool) -> [Double] {
    let shape = problem.shape
    let shares = grid.shares(of: shape)
    let dims = Double(shape.headDim + shape.valueHeadDim)
    let wide = Double(max(shape.headDim, shape.valueHeadDim))
    // Bytes of a query, or of a key, of one head.
    let side = (dims + 2) * (gradients ? 8 : 4)
    let sums = problem.accumulation == .fast ? 4 * (wide + 1) : 16 * wide + 32
    let token = Double(
      problem.wire.bytesPerToken(headDim: shape.headDim, valueHeadDim: shape.valueHeadDim))
    let gradient =
      !gradients ? 0 : problem.accumulation == .fast ? dims * 4 : dims * 16 + 16
    let kvHeads = Double(shape.kvHeads)
    let packedHeads = Double(shares.reduce(0) { $0 + $1.kvHeads.count })
    let (queries, keys) = (problem.queries.tokenCounts, problem.keys.tokenCounts)
    return (0..<grid.rows).flatMap { row in
      let members = grid.members(ofRow: row)
      let rowQueries = members.reduce(0.0) { $0 + Double(queries[$1]) }
      let rowKeys = members.reduce(0.0) { $0 + Double(keys[$1]) }
      return members.enumerated().map { column, rank in
        let own = Double(queries[rank]) * Double(shape.queryHeads)
        let inner = rowQueries * Double(shares[column].queryHeads.count)
        let (ownKeys, packedKeys) = (Double(keys[rank]), Double(keys[rank]) * packedHeads)
        let innerKeys = rowKeys * Double(shares[column].kvHeads.count)
        let staying = own * side + ownKeys * kvHeads * token
        let packed = (own + inner) * wide * 4
        let returning =
          packed + (packedKeys + innerKeys) * gradient
          + ownKeys * kvHeads * (gradient + (gradients ? dims * 4 : 0))
        let passing = max(packedKeys * token, inner * (side + sums) + packed, returning)
        return Double(shape.batch) * (staying + passing)
      }
    }
  }
}
