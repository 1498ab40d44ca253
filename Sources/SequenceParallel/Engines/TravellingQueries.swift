import Attention
import MPI
import Sharding
import Tensors

/// Keys and values stay; blocks of queries pass by in one pass or both, and what is found out about
/// them follows them home: outputs not yet divided by their row sums, or gradients.
final class TravellingQueries: AttentionEngine {
  private let problem: ShardedAttention
  private let maker: StreamMaker
  private let computation: BlockComputation
  private let team: ThreadTeam
  private let world: Communicator
  private let forwardStream: (any BlockStream)?
  /// Made when it is first needed.
  private var backwardStream: (any BlockStream)?
  /// What has the passes in which keys travel; nil if there are none.
  private let keys: TravellingKeys?
  /// Whether keys travel in the backward pass.
  private let keysTravelBackward: Bool
  /// This rank's own keys and values, unless they are in a stream.
  private let ownKeys: Piece
  private(set) var timing = Timing()

  /// Connects the ranks, called by all of them together.
  ///
  /// - Parameters:
  ///   - routes: what travels in which pass, queries in one at least.
  ///   - world: the ranks of the problem.
  init(
    _ problem: ShardedAttention, forward: BackwardRoute, backward: BackwardRoute,
    maker: StreamMaker, team: ThreadTeam, on world: borrowing Communicator
  ) throws(MPIError) {
    self.problem = problem
    self.maker = maker
    self.team = team
    computation = BlockComputation(
      shape: problem.shape, scale: problem.scale, pattern: problem.pattern,
      scoreRule: problem.scoreRule, accumulation: problem.accumulation, team: team)
    self.world = try world.duplicate()
    if forward == .queries {
      forwardStream = try maker.stream(of: problem.travellingQueries(.forward), on: world)
    } else {
      forwardStream = nil
    }
    keysTravelBackward = backward == .keys
    if forward == .keys || backward == .keys {
      keys = TravellingKeys(
        problem, stream: try maker.stream(of: problem.travellingKeys(.forward), on: world),
        team: team, rank: world.rank)
      ownKeys = .nothing
    } else {
      keys = nil
      ownKeys = StreamMemory.pieces(sizes: [problem.blockBytes[world.rank]])[0]
    }
  }

  var traffic: Traffic {
    (forwardStream?.traffic ?? .zero) + (backwardStream?.traffic ?? .zero)
      + (keys?.traffic ?? .zero)
  }

  func packOwnBlock(_ body: (inout KeyValueBlock) throws -> Void) rethrows {
    var block = problem.block(of: world.rank, at: ownBlock)
    try body(&block.value)
  }

  private var ownBlock: Piece { keys?.ownBlock ?? ownKeys }

  func forward(
    _ queries: borrowing QueryShard, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> AttentionOutput {
    guard let stream = forwardStream else {
      guard let keys else { preconditionFailure("nothing travels forward") }
      let output = try keys.forward(queries, progress: progress)
      timing = keys.timing
      return output
    }
    let start = ContinuousClock.now
    try stream.reserveResults(problem.travellingQueries(.forward).results)
    var own = problem.queryBlock(of: world.rank, .forward, at: stream.ownBlock)
    own.value.load(queries, team: team)
    let prepared = ContinuousClock.now - start
    let block = problem.block(of: world.rank, at: ownBlock)
    timing = try stream.run(results: problem.partialSums(team)) { visit, poll in
      let queries = problem.queryBlock(of: visit.owner, .forward, at: visit.block)
      var partial = problem.partial(of: visit.owner, at: visit.result)
      computation.attend(
        queries.value, to: block.value, addingTo: &partial.value, part: visit.part
      ) { scores in
        progress(scores)
        poll()
      }
    }
    let end = ContinuousClock.now
    var partial = problem.partial(of: world.rank, at: stream.ownResult)
    let output = partial.value.output(team: team)
    timing.computing += prepared + (ContinuousClock.now - end)
    return output
  }

  func backward(
    _ queries: borrowing QueryShard, output: borrowing AttentionOutput,
    outputGradient: borrowing Tensor<Float>, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> AttentionGradients {
    if keysTravelBackward {
      guard let keys else { preconditionFailure("nothing travels backward") }
      let gradients = try keys.backward(
        queries, output: output, outputGradient: outputGradient, progress: progress)
      timing = keys.timing
      return gradients
    }
    let start = ContinuousClock.now
    let blocks = problem.travellingQueries(.backward)
    if backwardStream == nil { backwardStream = try maker.stream(of: blocks, on: world) }
    guard let stream = backwardStream else { preconditionFailure("no stream") }
    try stream.reserveResults(blocks.results)
    var own = problem.queryBlock(of: world.rank, .backward, at: stream.ownBlock)
    own.value.load(queries, output: output, outputGradient: outputGradient, team: team)
    let block = problem.block(of: world.rank, at: ownBlock)
    var gradient = KeyValueGradient(
      shape: problem.shape, keys: block.value.keyCount, accumulation: problem.accumulation)
    let prepared = ContinuousClock.now - start
    timing = try stream.run(results: problem.queryGradientSums(team)) { visit, poll in
      let queries = problem.queryBlock(of: visit.owner, .backward, at: visit.block)
      var dq = problem.queryGradient(of: visit.owner, at: visit.result)
      computation.addGradients(
        queries.value, and: block.value, to: &dq.value, and: &gradient, part: visit.part
      ) { scores in
        progress(scores)
        poll()
      }
    }
    timing.computing += prepared
    var dq = problem.queryGradient(of: world.rank, at: stream.ownResult)
    return AttentionGradients(
      dq: dq.value.dq(scale: problem.scale, team: team), dk: gradient.dk(team: team),
      dv: gradient.dv(team: team))
  }

  func close() throws(MPIError) {
    try forwardStream?.close()
    try backwardStream?.close()
    try keys?.close()
  }
}

extension ShardedAttention {
  fileprivate func partialSums(_ team: ThreadTeam) -> ResultOperations {
    ResultOperations(
      clear: { owner, memory in
        var partial = partial(of: owner, at: memory)
        partial.value.clear(team: team)
      },
      add: { owner, memory, other in
        var partial = partial(of: owner, at: memory)
        partial.value.add(self.partial(of: owner, at: other).value, team: team)
      })
  }

  fileprivate func queryGradientSums(_ team: ThreadTeam) -> ResultOperations {
    ResultOperations(
      clear: { owner, memory in
        var gradient = queryGradient(of: owner, at: memory)
        gradient.value.clear(team: team)
      },
      add: { owner, memory, other in
        var gradient = queryGradient(of: owner, at: memory)
        gradient.value.add(self.queryGradient(of: owner, at: other).value, team: team)
      })
  }
}
