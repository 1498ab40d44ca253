import Attention
import MPI
import Sharding
import Tensors

/// Attention among ranks that have the same heads, each pass on a route of its own.
///
/// Keys that travel the same way in both passes do so on one stream, and stay packed there.
/// Whatever only the backward pass needs is made when it first comes.
final class RoutedAttention: AttentionEngine {
  let problem: ShardedAttention
  private let world: Communicator
  private let team: ThreadTeam
  private let maker: StreamMaker
  private let backwardRoute: Route
  /// Where this rank's own packed keys and values lie: in the stream on which they travel, or in
  /// memory of their own where they stay.
  let ownBlock: Piece
  private let forwardEngine: any PassEngine
  /// Nil until it is needed, unless it is that of the forward pass or has this rank's own keys.
  private var backwardEngine: (any PassEngine)?
  private(set) var timing = Timing()

  /// Connects the ranks, called by all of them together.
  ///
  /// - Parameters:
  ///   - planner: of their problem.
  ///   - forward: the route of the forward pass, which can serve these ranks; what it says of heads
  ///     is settled.
  ///   - backward: that of the backward pass.
  ///   - world: the ranks of the problem.
  init(
    _ planner: RoutePlanner, forward: Route, backward: Route,
    options: DistributedAttention.Options, on world: borrowing Communicator
  ) throws(MPIError) {
    problem = planner.problem
    self.world = try world.duplicate()
    team = options.team
    maker = StreamMaker(planner, options: options)
    backwardRoute = backward
    if forward.travelling == .keys {
      let stream = try maker.stream(on: forward, .forward, of: world)
      ownBlock = stream.ownBlock
      let engine = TravellingKeys(problem, stream: stream, team: team, rank: world.rank)
      forwardEngine = engine
      if backward == forward { backwardEngine = engine }
    } else {
      if backward.travelling == .keys {
        let stream = try maker.stream(on: backward, .backward, of: world)
        ownBlock = stream.ownBlock
        backwardEngine = TravellingKeys(problem, stream: stream, team: team, rank: world.rank)
      } else {
        ownBlock = StreamMemory.pieces(sizes: [problem.blockBytes[world.rank]])[0]
      }
      forwardEngine = TravellingQueries(
        problem, stream: try maker.stream(on: forward, .forward, of: world), keys: ownBlock,
        team: team, rank: world.rank)
    }
  }

  var traffic: Traffic {
    let backward = backwardEngine === forwardEngine ? nil : backwardEngine
    return forwardEngine.traffic + (backward?.traffic ?? .zero)
  }

  func packOwnBlock(_ body: (inout KeyValueBlock) throws -> Void) rethrows {
    var block = problem.block(of: world.rank, at: ownBlock)
    try body(&block.value)
  }

  func forward(
    _ queries: borrowing QueryShard, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> AttentionOutput {
    let output = try forwardEngine.forward(queries, progress: progress)
    timing = forwardEngine.timing
    return output
  }

  func backward(
    _ queries: borrowing QueryShard, output: borrowing AttentionOutput,
    outputGradient: borrowing Tensor<Float>, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> AttentionGradients {
    let dq = try queryGradients(
      queries, output: output, outputGradient: outputGradient, progress: progress)
    let keys = problem.keys.tokenCount(of: world.rank)
    let shape = problem.shape
    var dk = Tensor<Float>(zeros: [shape.batch, keys, shape.kvHeads, shape.headDim])
    var dv = Tensor<Float>(zeros: [shape.batch, keys, shape.kvHeads, shape.valueHeadDim])
    ownGradients { keys, gradient in
      gradient.writeKeys(to: &dk, at: keys, team: team)
      gradient.writeValues(to: &dv, at: keys, team: team)
    }
    return AttentionGradients(dq: dq, dk: dk, dv: dv)
  }

  /// The backward pass, which leaves what it finds out about this rank's keys in
  /// ``ownGradients(_:)``.
  ///
  /// - Returns: `dq`.
  func queryGradients(
    _ queries: borrowing QueryShard, output: borrowing AttentionOutput,
    outputGradient: borrowing Tensor<Float>, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> Tensor<Float> {
    let engine = try preparedBackwardEngine()
    let dq = try engine.queryGradients(
      queries, output: output, outputGradient: outputGradient, progress: progress)
    timing = engine.timing
    return dq
  }

  /// What the backward pass has found out about this rank's keys, until the next one, by parcels.
  func ownGradients(_ body: (_ keys: Range<Int>, borrowing KeyValueGradient) -> Void) {
    guard let backwardEngine else { preconditionFailure("there was no backward pass") }
    backwardEngine.ownGradients(body)
  }

  private func preparedBackwardEngine() throws(MPIError) -> any PassEngine {
    if backwardEngine == nil {
      let stream = try maker.stream(on: backwardRoute, .backward, of: world)
      backwardEngine =
        backwardRoute.travelling == .keys
        ? TravellingKeys(problem, stream: stream, team: team, rank: world.rank)
        : TravellingQueries(problem, stream: stream, keys: ownBlock, team: team, rank: world.rank)
    }
    guard let backwardEngine else { preconditionFailure("it was just made") }
    // A stream of their own begins with what was packed for the forward pass.
    if let keys = backwardEngine as? TravellingKeys { keys.takeOwnBlock(from: ownBlock) }
    return backwardEngine
  }

  func close() throws(MPIError) {
    try forwardEngine.close()
    if let backwardEngine, backwardEngine !== forwardEngine { try backwardEngine.close() }
  }
}
