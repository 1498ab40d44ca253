import Attention
import Hosts
import LongNet
import MPI
import SequenceParallel
import Sharding
import Tensors

/// Attention whose ranks are connected, for any number of passes.
protocol Connection: AnyObject {
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

  /// Gives back what the ranks share, called by all ranks together.
  func close() throws
}

/// What either operator is in the eyes of a caller.
private final class Connected<Operator: AttentionOperator & ~Copyable>: Connection {
  private var attention: Operator?
  private let runs: [PositionRange]

  init(_ attention: consuming Operator, runs: [PositionRange]) {
    self.attention = consume attention
    self.runs = runs
  }

  func forward(
    q: consuming Tensor<Float>, k: borrowing Tensor<Float>, v: borrowing Tensor<Float>
  ) throws -> AttentionOutput {
    let queries = QueryShard(q, runs: runs)
    return try withAttention {
      $0.pack(keys: k, values: v)
      return try $0.forward(queries) { _ in }
    }
  }

  func backward(
    q: consuming Tensor<Float>, k: borrowing Tensor<Float>, v: borrowing Tensor<Float>,
    output: borrowing AttentionOutput, outputGradient: borrowing Tensor<Float>
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
  _ request: AttentionRequest, team: ThreadTeam, on world: borrowing Communicator
) throws -> any Connection {
  let runs = request.queries.shards[world.rank]
  let topology = try Topology(of: world)
  if !request.branches.isEmpty {
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
    return Connected(attention, runs: runs)
  }
  let problem = try world.together {
    ShardedAttention(
      shape: request.shape, queries: request.queries, keys: request.keys,
      pattern: try request.pattern(), scoreRule: request.scoreRule, scale: request.scale,
      wire: request.wire, accumulation: request.accumulation, arithmetic: request.arithmetic)
  }
  try requireMemory(problem.leastBytes(rank: world.rank), on: world)
  let planner = RoutePlanner(problem, topology: topology)
  let route = try route(request.route, planner, team: team, on: world)
  let backward = planner.backwardDecision(.automatic, after: route).route
  try requireMemory(planner.residentBytes(on: route, backward: backward)[world.rank], on: world)
  var options = DistributedAttention.Options()
  options.team = team
  options.topology = topology
  let attention = try DistributedAttention(problem, route: route, options: options, on: world)
  return Connected(attention, runs: runs)
}

/// The route asked for, if it can serve these ranks, or the cheapest.
private func route(
  _ asked: Route?, _ planner: RoutePlanner, team: ThreadTeam, on world: borrowing Communicator
) throws -> Route {
  if let asked {
    try world.together {
      try asked.check(ranks: world.size, topology: planner.topology, backward: .automatic)
    }
    return asked
  }
  if world.size == 1 { return .ring }
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
