import Attention
import MPI
import Sharding
import Tensors

/// Ranks of a row exchange tokens for heads, each column computes its heads on a route of its own,
/// and what it finds out goes back to the tokens' owners.
///
/// An engine keeps nothing of a pass but the packed blocks, so that any number of layers can share
/// it: queries travel in the backward pass again, with outputs and their gradients. Blocks are
/// exchanged once for any number of passes, when some rank of the row has packed anew.
///
/// Source: Jacobs et al. 2023, DeepSpeed Ulysses; Fang and Zhao 2024, USP.
final class HeadExchange: AttentionEngine {
  private let problem: ShardedAttention
  private let shares: [HeadShare]
  private let row: Int
  private let column: Int
  private let rank: Int
  /// Queries, and keys, of each rank of the row.
  private let queryCounts: [Int]
  private let keyCounts: [Int]
  private let group: HeadGroup
  private let team: ThreadTeam
  private let ownBlock: Piece
  private var isPacked = false
  /// This rank's heads for the tokens of the row; nil if it has no heads.
  private let inner: RoutedAttention?
  private(set) var timing = Timing()

  /// Connects the ranks of rows and of columns, called by all ranks together.
  ///
  /// - Parameters:
  ///   - planner: of the problem of all ranks.
  ///   - forward: the route of the forward pass inside a column.
  ///   - backward: that of the backward pass.
  init(
    _ planner: RoutePlanner, grid: HeadGrid, forward: Route, backward: Route,
    options: DistributedAttention.Options, on world: borrowing Communicator
  ) throws(MPIError) {
    let problem = planner.problem
    self.problem = problem
    shares = grid.shares(of: problem.shape)
    (row, column) = grid.place(of: world.rank)
    rank = world.rank
    team = options.team
    let members = grid.members(ofRow: row)
    queryCounts = members.map { problem.queries.tokenCount(of: $0) }
    keyCounts = members.map { problem.keys.tokenCount(of: $0) }
    group = try HeadGroup(grid, timeline: options.timeline, on: world)
    ownBlock = StreamMemory.pieces(sizes: [problem.blockBytes[rank]])[0]
    let part = problem.part(column: column, of: grid)
    guard let ring = try world.split(color: part == nil ? nil : column, key: row), let part else {
      inner = nil
      return
    }
    inner = try RoutedAttention(
      RoutePlanner(
        part, topology: planner.topology.column(column, of: grid),
        meetings: Meetings(part.pattern, keys: part.keys, queries: part.queries)),
      forward: forward, backward: backward, options: options, on: ring)
  }

  var traffic: Traffic { group.traffic + (inner?.traffic ?? .zero) }

  func packOwnBlock(_ body: (inout KeyValueBlock) throws -> Void) rethrows {
    isPacked = true
    var block = wholeBlock
    try body(&block.value)
  }

  func close() throws(MPIError) {
    try inner?.close()
  }

  // MARK: Passes

  func forward(
    _ queries: borrowing QueryShard, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> AttentionOutput {
    group.waiting = .zero
    try exchangeBlocks()
    let q = try toHeads("q", queries.tensor, headDim: problem.shape.headDim)
    let output: AttentionOutput
    if let inner {
      output = try inner.forward(
        QueryShard(q, runs: inner.problem.queries.shards[row]), progress: progress)
    } else {
      output = AttentionOutput(
        o: Tensor(zeros: headsShape(problem.shape.valueHeadDim)), lse: Tensor(zeros: headStateShape)
      )
    }
    let own = AttentionOutput(
      o: try toTokens("o", output.o, headDim: problem.shape.valueHeadDim),
      lse: try statesToTokens("lse", output.lse),
      lseRemainder: try statesToTokens("lse", output.lseRemainder))
    takeTime()
    return own
  }

  func backward(
    _ queries: borrowing QueryShard, output: borrowing AttentionOutput,
    outputGradient: borrowing Tensor<Float>, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> AttentionGradients {
    group.waiting = .zero
    let shape = problem.shape
    try exchangeBlocks()
    let q = try toHeads("q", queries.tensor, headDim: shape.headDim)
    let o = try toHeads("o", output.o, headDim: shape.valueHeadDim)
    let innerGradient = try toHeads("do", outputGradient, headDim: shape.valueHeadDim)
    let lse = try statesToHeads("lse", output.lse)
    let lseRemainder = try statesToHeads("lse", output.lseRemainder)
    let dq: Tensor<Float>
    if let inner {
      dq = try inner.queryGradients(
        QueryShard(q, runs: inner.problem.queries.shards[row]),
        output: AttentionOutput(o: o, lse: lse, lseRemainder: lseRemainder),
        outputGradient: innerGradient, progress: progress)
    } else {
      dq = Tensor(zeros: headsShape(shape.headDim))
    }
    let own = try collectKeyGradients()
    let gradients = AttentionGradients(
      dq: try toTokens("dq", dq, headDim: shape.headDim), dk: own.dk(team: team),
      dv: own.dv(team: team))
    takeTime()
    return gradients
  }

  private func takeTime() {
    timing = inner?.timing ?? Timing()
    timing.waiting += group.waiting
  }

  // MARK: Keys and values

  private var wholeBlock: Lent<KeyValueBlock> { problem.block(of: rank, at: ownBlock) }

  /// Gives each rank of the row its heads of the own block, and puts what comes in together to the
  /// block of the row.
  private func exchangeBlocks() throws(MPIError) {
    guard try group.anyone(isPacked) else { return }
    isPacked = false
    let outgoing = StreamMemory.pieces(
      sizes: shares.map { $0.blockBytes(keys: keyCounts[column], wire: problem.wire) })
    let whole = wholeBlock
    for (share, piece) in zip(shares, outgoing) {
      whole.copy(kvHeads: share.kvHeads, to: piece)
    }
    let row = inner?.ownBlock ?? .nothing
    var end = 0
    let incoming = keyCounts.map { keys in
      let start = end
      end += shares[column].blockBytes(keys: keys, wire: problem.wire)
      return row[start..<end]
    }
    try group.exchange("block", sending: outgoing, receiving: incoming)
  }

  /// Gives each rank of the row the gradients of its keys, and adds up what comes in, in the order
  /// of the columns: a KV head that two of them read comes from both.
  private func collectKeyGradients() throws(MPIError) -> KeyValueGradient {
    let accumulation = problem.accumulation
    let outgoing = StreamMemory.pieces(
      sizes: keyCounts.map { shares[column].gradientBytes(keys: $0, accumulation) })
    let incoming = StreamMemory.pieces(
      sizes: shares.map { $0.gradientBytes(keys: keyCounts[column], accumulation) })
    if let inner {
      inner.ownGradients { parcel, gradient in
        var end = 0
        for (index, keys) in keyCounts.enumerated() {
          let start = end
          end += keys
          let common = parcel.clamped(to: start..<end)
          if common.isEmpty { continue }
          let first = common.lowerBound - parcel.lowerBound
          var part = inner.problem.gradient(keys: keys, at: outgoing[index])
          part.value.add(
            gradient, keys: first..<first + common.count, to: common.lowerBound - start,
            firstKVHead: 0, team: team)
        }
      }
    }
    try group.exchange("dk, dv", sending: outgoing, receiving: incoming)
    var sum = KeyValueGradient(
      shape: problem.shape, keys: keyCounts[column], accumulation: accumulation)
    for (index, share) in shares.enumerated() {
      guard let part = problem.gradient(of: share, keys: keyCounts[column], at: incoming[index])
      else { continue }
      sum.add(
        part.value, keys: 0..<keyCounts[column], firstKVHead: share.kvHeads.lowerBound, team: team)
    }
    return sum
  }

  // MARK: Queries and outputs

  private var rowTokens: Int { queryCounts.reduce(0, +) }
  private var ownHeads: Int { shares[column].queryHeads.count }

  private func headsShape(_ headDim: Int) -> Shape {
    [problem.shape.batch, rowTokens, ownHeads, headDim]
  }

  private var headStateShape: Shape { [problem.shape.batch, ownHeads, rowTokens] }

  /// Matrices with a row for each token.
  private func tokenMatrices(_ headDim: Int) -> SharedMatrices {
    SharedMatrices(
      count: problem.shape.batch, rows: queryCounts,
      columns: shares.map { $0.queryHeads.count * headDim })
  }

  /// Matrices with a row for each head.
  private var stateMatrices: SharedMatrices {
    SharedMatrices(
      count: problem.shape.batch, rows: shares.map(\.queryHeads.count), columns: queryCounts)
  }

  /// From `[batch, tokens, queryHeads, headDim]` to
  /// `[batch, tokens of the row, own heads, headDim]`.
  private func toHeads(
    _ name: String, _ tensor: borrowing Tensor<Float>, headDim: Int
  ) throws(MPIError) -> Tensor<Float> {
    try group.toColumns(name, tensor, tokenMatrices(headDim), shape: headsShape(headDim))
  }

  /// The way back.
  private func toTokens(
    _ name: String, _ tensor: borrowing Tensor<Float>, headDim: Int
  ) throws(MPIError) -> Tensor<Float> {
    let shape = problem.shape
    return try group.toRows(
      name, tensor, tokenMatrices(headDim),
      shape: [shape.batch, queryCounts[column], shape.queryHeads, headDim])
  }

  /// From `[batch, queryHeads, tokens]` to `[batch, own heads, tokens of the row]`.
  private func statesToHeads(
    _ name: String, _ tensor: borrowing Tensor<Float>
  ) throws(MPIError) -> Tensor<Float> {
    try group.toRows(name, tensor, stateMatrices, shape: headStateShape)
  }

  /// The way back.
  private func statesToTokens(
    _ name: String, _ tensor: borrowing Tensor<Float>
  ) throws(MPIError) -> Tensor<Float> {
    let shape = problem.shape
    return try group.toColumns(
      name, tensor, stateMatrices, shape: [shape.batch, shape.queryHeads, queryCounts[column]])
  }
}
