import Attention
import Hosts
import LongNet
import MPI
import SequenceParallel
import Sharding
import Tensors

/// Attention whose ranks are connected, for any number of passes.
protocol Connection: AnyObject {
  /// Takes what is of the next pass alone.
  ///
  /// - Parameters:
  ///   - request: of the kind that the connection is for.
  ///   - bias: the rows of this rank's queries, if the request has any.
  @unsafe
  func take(_ request: AttentionRequest, bias: UnsafePointer<Float>?) throws

  /// The forward pass, called by all ranks together.
  func forward(
    q: consuming Tensor<Float>, k: borrowing Tensor<Float>, v: borrowing Tensor<Float>
  ) throws -> AttentionOutput

  /// The backward pass of what a forward pass gave, perhaps not the last, called by all ranks
  /// together.
  func backward(
    q: consuming Tensor<Float>, k: borrowing Tensor<Float>, v: borrowing Tensor<Float>,
    output: borrowing AttentionOutput, outputGradient: borrowing Tensor<Float>
  ) throws -> AttentionGradients

  /// The gradients of the bias that the last backward pass has found, of the rows that were taken;
  /// nil if there is none.
  func biasGradients() -> Tensor<Float>?

  /// Gives back what the ranks share, called by all ranks together.
  func close() throws
}

/// What either operator is in the eyes of a caller.
private final class Connected<Operator: AttentionOperator & ~Copyable>: Connection {
  private var attention: Operator?
  private let runs: [PositionRange]
  /// What a query sees, where that is another in each pass.
  private let pattern: LatestPattern?
  private var segments: AttentionRequest.Segments?
  private let bias: BiasPart?
  /// Of queries and of keys, where they are computed in another order than the caller's.
  private let order: (queries: RowOrder, keys: RowOrder)?

  /// - Parameter runs: of the queries as they are computed.
  init(
    _ attention: consuming Operator, runs: [PositionRange], pattern: LatestPattern? = nil,
    bias: BiasPart? = nil, order: (queries: RowOrder, keys: RowOrder)? = nil
  ) {
    self.attention = consume attention
    self.runs = runs
    self.order = order
    self.pattern = pattern
    self.bias = bias
  }

  func take(_ request: AttentionRequest, bias numbers: UnsafePointer<Float>?) throws {
    if let pattern, request.segments != segments {
      pattern.current = try request.pattern()
      segments = request.segments
    }
    guard let bias, let numbers = unsafe numbers else { return }
    forEachMatrix(of: bias) { batch, head, matrix, rows, columns in
      bias.fill(batch: batch, head: head, rows: 0..<rows, columns: 0..<columns) { part in
        for index in part.indices {
          part[index] = unsafe numbers[matrix * rows * columns + index]
        }
      }
    }
    bias.clearGradients()
  }

  func biasGradients() -> Tensor<Float>? {
    guard let bias else { return nil }
    let (rows, columns) = size(of: bias)
    var gradients = Tensor<Float>(zeros: [bias.batch, bias.heads.count, rows, columns])
    var numbers = gradients.mutableSpan
    forEachMatrix(of: bias) { batch, head, matrix, rows, columns in
      for row in 0..<rows {
        let first = (matrix * rows + row) * columns
        for (column, number) in bias.gradientRow(batch: batch, head: head, row: row).enumerated() {
          numbers[first + column] = number
        }
      }
    }
    return gradients
  }

  private func size(of bias: BiasPart) -> (rows: Int, columns: Int) {
    (bias.queries.reduce(0) { $0 + $1.count }, bias.keys.reduce(0) { $0 + $1.count })
  }

  private func forEachMatrix(
    of bias: BiasPart,
    _ body: (_ batch: Int, _ head: Int, _ matrix: Int, _ rows: Int, _ columns: Int) -> Void
  ) {
    let (rows, columns) = size(of: bias)
    for batch in 0..<bias.batch {
      for head in bias.heads {
        body(batch, head, batch * bias.heads.count + head, rows, columns)
      }
    }
  }

  func forward(
    q: consuming Tensor<Float>, k: borrowing Tensor<Float>, v: borrowing Tensor<Float>
  ) throws -> AttentionOutput {
    guard let order else { return try computedForward(q, k, v) }
    let output = try computedForward(
      order.queries.computed(q), order.keys.computed(k), order.keys.computed(v))
    return AttentionOutput(
      o: order.queries.given(output.o), lse: order.queries.given(output.lse, axis: 2),
      lseRemainder: order.queries.given(output.lseRemainder, axis: 2))
  }

  func backward(
    q: consuming Tensor<Float>, k: borrowing Tensor<Float>, v: borrowing Tensor<Float>,
    output: borrowing AttentionOutput, outputGradient: borrowing Tensor<Float>
  ) throws -> AttentionGradients {
    guard let order else { return try computedBackward(q, k, v, output, outputGradient) }
    let (queries, keys) = order
    let computed = AttentionOutput(
      o: queries.computed(output.o), lse: queries.computed(output.lse, axis: 2),
      lseRemainder: queries.computed(output.lseRemainder, axis: 2))
    let gradients = try computedBackward(
      queries.computed(q), keys.computed(k), keys.computed(v), computed,
      queries.computed(outputGradient))
    return AttentionGradients(
      dq: queries.given(gradients.dq), dk: keys.given(gradients.dk), dv: keys.given(gradients.dv))
  }

  private func computedForward(
    _ q: consuming Tensor<Float>, _ k: borrowing Tensor<Float>, _ v: borrowing Tensor<Float>
  ) throws -> AttentionOutput {
    let queries = QueryShard(q, runs: runs)
    return try withAttention {
      $0.pack(keys: k, values: v)
      return try $0.forward(queries) { _ in }
    }
  }

  private func computedBackward(
    _ q: consuming Tensor<Float>, _ k: borrowing Tensor<Float>, _ v: borrowing Tensor<Float>,
    _ output: borrowing AttentionOutput, _ outputGradient: borrowing Tensor<Float>
  ) throws -> AttentionGradients {
    let queries = QueryShard(q, runs: runs)
    return try withAttention {
      // Other layers may have packed theirs since.
      $0.pack(keys: k, values: v)
      return try $0.backward(queries, output: output, outputGradient: outputGradient) { _ in }
    }
  }

  private func withAttention<Value: ~Copyable>(
    _ body: (inout Operator) throws -> Value
  ) rethrows -> Value {
    guard var own = attention.take() else { preconditionFailure("the connection is closed") }
    do {
      let value = try body(&own)
      attention = consume own
      return value
    } catch {
      attention = consume own
      throw error
    }
  }

  func close() throws { try attention.take()?.close() }
}

/// Connects the ranks for a request, called by all of them together.
func connect(
  _ request: AttentionRequest, team: ThreadTeam, topology: Topology,
  on world: borrowing Communicator
) throws -> any Connection {
  let runs = request.queries.shards[world.rank]
  if !request.branches.isEmpty {
    return try connectDilated(request, team: team, topology: topology, on: world)
  }
  let whole = try world.together { try request.pattern() }
  let latest = request.segmentsMayChange ? LatestPattern(whole: whole) : nil
  // Runs of positions that see alike; but leaves of reproducible sums are of neighbours.
  let step = request.accumulation == .reproducible ? 1 : whole.period
  let (queries, keys) = (request.queries.strided(by: step), request.keys.strided(by: step))
  let problem = ShardedAttention(
    shape: request.shape, queries: queries, keys: keys, pattern: latest ?? whole,
    scoreRule: request.scoreRule(bias: nil), scale: request.scale, wire: request.wire,
    accumulation: request.accumulation, arithmetic: request.arithmetic)
  try requireMemory(problem.leastBytes(rank: world.rank), on: world)
  let planner = RoutePlanner(problem, topology: topology)
  let asked = request.bias == nil ? BackwardRoute.automatic : .keys
  let route = try route(request, planner, team: team, on: world)
  let backward = planner.backwardDecision(asked, after: route).route
  // The rows of its queries over all keys, and their gradients.
  let extent = try request.bias.map { _ in
    try problem.biasExtent(rank: world.rank, route: route, travelling: .keys)
  }
  let biasShape = request.biasShape
  let ofBias = extent?.byteCount(
    of: biasShape, batch: request.shape.batch, collectsGradients: true)
  try requireMemory(
    planner.residentBytes(on: route, backward: backward)[world.rank] + (ofBias ?? 0), on: world)
  let bias = extent.map {
    BiasPart(
      of: biasShape, batch: request.shape.batch, heads: $0.heads, queries: runs, keys: $0.keys,
      collectsGradients: true)
  }
  var options = DistributedAttention.Options()
  options.team = team
  options.topology = topology
  options.backwardRoute = asked
  let attention = try DistributedAttention(
    problem.with(scoreRule: request.scoreRule(bias: bias)), route: route, options: options,
    on: world)
  let (rank, computed) = (world.rank, queries.shards[world.rank])
  let order =
    step == 1
    ? nil
    : (
      queries: RowOrder(given: runs, computed: computed, team: team),
      keys: RowOrder(
        given: request.keys.shards[rank], computed: keys.shards[rank], team: team)
    )
  return Connected(attention, runs: computed, pattern: latest, bias: bias, order: order)
}

/// The same for dilated attention.
private func connectDilated(
  _ request: AttentionRequest, team: ThreadTeam, topology: Topology,
  on world: borrowing Communicator
) throws -> any Connection {
  let problem = try world.together {
    try ShardedDilatedAttention(
      shape: request.shape, sharding: request.queries, branches: request.branches,
      isCausal: request.isCausal, scale: request.scale)
  }
  try requireMemory(problem.residentBytes(rank: world.rank, gradients: true), on: world)
  let speeds = try MeasuredSpeeds(
    shape: problem.shape, team: team, topology: topology, on: world)
  let choice = try Placement.cheapest(
    for: problem, gradients: true, speeds: speeds, on: world)
  var options = DilatedAttention.Options()
  options.team = team
  let attention = try DilatedAttention(
    problem, placement: choice.estimates[0].0, options: options, on: world)
  return Connected(attention, runs: request.queries.shards[world.rank])
}

/// The route asked for, if it can serve these ranks, or the cheapest.
private func route(
  _ request: AttentionRequest, _ planner: RoutePlanner, team: ThreadTeam,
  on world: borrowing Communicator
) throws -> Route {
  if let asked = request.route {
    try world.together {
      try asked.check(ranks: world.size, topology: planner.topology, backward: .automatic)
    }
    return asked
  }
  // Between hosts the choice is among ways on which ranks compute the queries of others, too.
  if world.size == 1 || request.bias != nil && planner.topology.nodes.count > 1 { return .ring }
  return try planner.automatic(backward: .automatic, team: team, on: world).route
}

/// Refuses what the ranks of a host cannot hold together.
func requireMemory(_ needed: Double, on world: borrowing Communicator) throws {
  let here = try world.splitByNode().size
  try world.together {
    try HostMemory.current.require(
      needed * Double(here), for: here == 1 ? "the tensors of a rank" : "\(here) ranks",
      remedy: "use more hosts, or a shorter sequence")
  }
}
