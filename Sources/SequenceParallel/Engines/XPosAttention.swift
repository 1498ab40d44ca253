public import Attention
public import MPI
import Sharding
public import Tensors

/// Attention whose queries and keys have the decay of xPos, at any length.
///
/// Keys are met group by group. For a group powers are taken from its center, so that they stay
/// small numbers; what groups give is merged as the results of any blocks are. A group is of keys
/// whose positions are neighbours, wherever they are in the sequence; sinks that stand next to a
/// window are groups of their own. Each is a forward or backward pass of all ranks over its keys
/// alone: as many pairs are computed and as many keys travel as in one pass, and a sequence of one
/// group takes one. A rank keeps its keys and values unpacked beside its block.
///
/// Keys that stand after a query which sees them are not for it: they would count the more the
/// later they stand.
public struct XPosAttention: ~Copyable, AttentionOperator {
  /// What is computed.
  public let problem: ShardedAttention
  private let decay: XPosDecay
  private let route: Route
  private let options: DistributedAttention.Options
  private let world: Communicator
  private let groups: XPosGroups
  /// This rank's own, `[batch, keys, kvHeads, columns]`.
  private var keys: Tensor<Float>
  private var values: Tensor<Float>
  /// What the next pass begins with, and its group.
  private var kept: DistributedAttention?
  private var keptGroup = 0
  private var isPacked = false
  private var closedTraffic = Traffic.zero
  /// Where the time of the last pass went.
  public private(set) var timing = Timing()

  /// Connects the ranks, called by all of them together.
  ///
  /// - Parameters:
  ///   - places: where tokens stand.
  ///   - groupLength: positions of a group; nil is as many as the wire type bears.
  public init(
    _ problem: ShardedAttention, decay: XPosDecay, places: XPosPlaces, route: Route,
    groupLength: Int? = nil, options: DistributedAttention.Options = .init(),
    on world: borrowing Communicator
  ) throws {
    let own = try world.duplicate()
    let groups = XPosGroups(
      problem, places, length: groupLength ?? Self.groupLength(of: problem.wire))
    // What cannot be served is found out now.
    let first = try DistributedAttention(
      groups.problem(of: 0), route: route, options: options, on: world)
    self.problem = problem
    self.decay = decay
    self.route = route
    self.options = options
    self.groups = groups
    self.world = own
    kept = consume first
    let (shape, count) = (problem.shape, problem.keys.tokenCount(of: world.rank))
    keys = Tensor(zeros: [shape.batch, count, shape.kvHeads, shape.headDim])
    values = Tensor(zeros: [shape.batch, count, shape.kvHeads, shape.valueHeadDim])
  }

  /// Whole leaves of reproducible sums over which powers of all pairs stay within 4·10⁸, within 17
  /// in half precision, and within 2.6 where a row has one scale.
  public static func groupLength(of wire: WireType) -> Int {
    let leaf = Accumulation.reproducible.granularity
    return switch wire {
    case .f32, .bf16: 21 * leaf
    case .f16: 3 * leaf
    case .int8: leaf
    }
  }

  /// The (query, key) pairs that this rank computes in a pass.
  public var pairs: Int { problem.computedPairs(rank: world.rank, route: route) }

  /// The point-to-point messages of this rank so far.
  public var traffic: Traffic {
    switch kept {
    case .some(let engine): closedTraffic + engine.traffic
    case .none: closedTraffic
    }
  }

  /// Takes this rank's own keys and values.
  public mutating func pack(keys: borrowing Tensor<Float>, values: borrowing Tensor<Float>) {
    let team = options.team
    var ofKeys = self.keys.mutableSpan
    team.copy(keys.span, to: &ofKeys)
    var ofValues = self.values.mutableSpan
    team.copy(values.span, to: &ofValues)
    isPacked = false
  }

  /// Reads this rank's own keys and values.
  public mutating func load(keys: some TokenRows, values: some TokenRows) throws {
    let runs = problem.keys.shards[world.rank]
    self.keys = try keys.read(shard: runs, team: options.team)
    self.values = try values.read(shard: runs, team: options.team)
    isPacked = false
  }

  /// The forward pass.
  public mutating func forward(
    _ queries: borrowing QueryShard, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> AttentionOutput {
    timing = Timing()
    var engine = try engine(of: 0)
    var output = try engine.forward(scaled(queries, 0), progress: progress)
    timing = timing + engine.timing
    for group in groups.indices.dropFirst() {
      try close(engine)
      engine = try self.engine(of: group)
      let next = try engine.forward(scaled(queries, group), progress: progress)
      timing = timing + engine.timing
      output = output.merged(with: next, team: options.team)
    }
    kept = consume engine
    guard let sinks = problem.sinks else { return output }
    return sinks.applied(to: output, team: options.team)
  }

  /// The backward pass.
  public mutating func backward(
    _ queries: borrowing QueryShard, output: borrowing AttentionOutput,
    outputGradient: borrowing Tensor<Float>, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> AttentionGradients {
    timing = Timing()
    var gradients = AttentionGradients(
      dq: Tensor(zeros: queries.tensor.shape), dk: Tensor(zeros: keys.shape),
      dv: Tensor(zeros: values.shape))
    // Beginning with the group that the forward pass has ended with.
    for group in groups.indices.reversed() {
      var engine = try self.engine(of: group)
      var own = try engine.backward(
        scaled(queries, group), output: output, outputGradient: outputGradient,
        progress: progress)
      timing = timing + engine.timing
      multiplyQueries(&own.dq, queries.runs, meeting: groups[group])
      groups.turn(&own.dq, queries.runs, meeting: groups[group], backwards: true)
      multiplyKeys(&own.dk, of: groups[group])
      add(own.dq, to: &gradients.dq)
      add(own.dk, to: &gradients.dk)
      add(own.dv, to: &gradients.dv)
      if group == 0 { kept = consume engine } else { try close(engine) }
    }
    if let sinks = problem.sinks {
      gradients.dsinks = sinks.gradient(
        merging: try world.allGather(
          sinks.gradientSums(
            output, outputGradient: outputGradient, runs: queries.runs, team: options.team)))
    }
    return gradients
  }

  /// Gives back what the ranks share.
  public consuming func close() throws(MPIError) {
    if let engine = kept.take() { try engine.close() }
  }

  // MARK: Groups

  private func multiplyQueries(
    _ rows: inout Tensor<Float>, _ runs: [PositionRange], meeting group: XPosGroups.Group
  ) {
    let tokens = runs.flatMap(Array.init)
    decay.multiplyQueries(&rows, meeting: group.positions) {
      groups.position(ofQuery: tokens[$1], $0, meeting: group)
    }
  }

  private func multiplyKeys(_ rows: inout Tensor<Float>, of group: XPosGroups.Group) {
    let tokens = problem.keys.shards[world.rank].flatMap(Array.init)
    decay.multiplyKeys(&rows, among: group.positions) {
      groups.position(ofKey: tokens[$1], $0, in: group)
    }
  }

  /// Queries as they meet the keys of a group.
  private func scaled(_ queries: borrowing QueryShard, _ group: Int) -> QueryShard {
    var tensor = Tensor<Float>(zeros: queries.tensor.shape)
    var rows = tensor.mutableSpan
    options.team.copy(queries.tensor.span, to: &rows)
    groups.turn(&tensor, queries.runs, meeting: groups[group])
    multiplyQueries(&tensor, queries.runs, meeting: groups[group])
    return QueryShard(tensor, runs: queries.runs)
  }

  /// What computes over the keys of a group: what is kept, or another one.
  private mutating func engine(of group: Int) throws(MPIError) -> DistributedAttention {
    var engine: DistributedAttention
    if let own = kept.take() {
      if keptGroup == group {
        if isPacked { return own }
        engine = own
      } else {
        try close(own)
        engine = try connect(to: group)
      }
    } else {
      engine = try connect(to: group)
    }
    keptGroup = group
    isPacked = true
    var scaled = Tensor<Float>(zeros: keys.shape)
    var rows = scaled.mutableSpan
    options.team.copy(keys.span, to: &rows)
    multiplyKeys(&scaled, of: groups[group])
    engine.pack(keys: scaled, values: values)
    return engine
  }

  private func connect(to group: Int) throws(MPIError) -> DistributedAttention {
    do {
      return try DistributedAttention(
        groups.problem(of: group), route: route, options: options, on: world)
    } catch let error as MPIError {
      throw error
    } catch {
      preconditionFailure("the route has served these ranks before")
    }
  }

  private mutating func close(
    _ engine: consuming DistributedAttention
  ) throws(MPIError) {
    closedTraffic = closedTraffic + engine.traffic
    try engine.close()
  }

  private func add(_ terms: borrowing Tensor<Float>, to sum: inout Tensor<Float>) {
    var numbers = sum.mutableSpan
    for index in 0..<numbers.count { numbers[index] += terms.span[index] }
  }
}
