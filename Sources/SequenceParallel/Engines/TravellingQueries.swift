import Attention
import MPI
import Sharding
import Tensors

/// Keys and values stay; blocks of queries pass by in one pass, and what is found out about them
/// follows them home: outputs not yet divided by their row sums, or gradients.
final class TravellingQueries: PassEngine {
  private let problem: ShardedAttention
  private let computation: BlockComputation
  private let team: ThreadTeam
  private let rank: Int
  private let stream: any BlockStream
  /// This rank's own packed keys and values.
  private let keys: Piece
  /// Where their gradients lie, in a backward pass.
  private var gradientMemory: Piece?
  private(set) var timing = Timing()

  /// - Parameters:
  ///   - stream: of blocks of the problem's queries, as they are in the pass that is to be run.
  ///   - keys: this rank's own packed keys and values.
  init(
    _ problem: ShardedAttention, stream: any BlockStream, keys: Piece, team: ThreadTeam, rank: Int
  ) {
    self.problem = problem
    self.stream = stream
    self.keys = keys
    self.team = team
    self.rank = rank
    computation = BlockComputation(
      shape: problem.shape, scale: problem.scale, pattern: problem.pattern,
      scoreRule: problem.scoreRule, accumulation: problem.accumulation,
      arithmetic: problem.arithmetic, team: team)
  }

  var traffic: Traffic { stream.traffic }

  func forward(
    _ queries: borrowing QueryShard, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> AttentionOutput {
    let start = ContinuousClock.now
    try stream.reserveResults(
      problem.queries.tokenCounts.map {
        ForwardPartial.byteCount(
          tokens: $0, shape: problem.shape, accumulation: problem.accumulation)
      })
    var own = problem.queryBlock(of: rank, .forward, at: stream.ownBlock)
    own.value.load(queries, team: team)
    let prepared = ContinuousClock.now - start
    let block = problem.block(of: rank, at: keys)
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
    var partial = problem.partial(of: rank, at: stream.ownResult)
    let output = partial.value.output(team: team)
    timing.computing += prepared + (ContinuousClock.now - end)
    return output
  }

  func queryGradients(
    _ queries: borrowing QueryShard, output: borrowing AttentionOutput,
    outputGradient: borrowing Tensor<Float>, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> Tensor<Float> {
    let start = ContinuousClock.now
    try stream.reserveResults(
      problem.queries.tokenCounts.map {
        QueryGradient.byteCount(
          tokens: $0, shape: problem.shape, accumulation: problem.accumulation)
      })
    var own = problem.queryBlock(of: rank, .backward, at: stream.ownBlock)
    own.value.load(
      queries, output: output, outputGradient: outputGradient, arithmetic: problem.arithmetic,
      team: team)
    let block = problem.block(of: rank, at: keys)
    if gradientMemory == nil {
      let byteCount = KeyValueGradient.byteCount(
        keys: block.value.keyCount, shape: problem.shape, accumulation: problem.accumulation)
      gradientMemory = StreamMemory.pieces(sizes: [byteCount])[0]
    }
    var gradient = ownGradient()
    gradient.value.clear(team: team)
    let prepared = ContinuousClock.now - start
    timing = try stream.run(results: problem.queryGradientSums(team)) { visit, poll in
      let queries = problem.queryBlock(of: visit.owner, .backward, at: visit.block)
      var dq = problem.queryGradient(of: visit.owner, at: visit.result)
      computation.addGradients(
        queries.value, and: block.value, to: &dq.value, and: &gradient.value, part: visit.part
      ) { scores in
        progress(scores)
        poll()
      }
    }
    timing.computing += prepared
    var dq = problem.queryGradient(of: rank, at: stream.ownResult)
    return dq.value.dq(scale: problem.scale, team: team)
  }

  func ownGradient() -> Lent<KeyValueGradient> {
    problem.gradient(of: rank, at: gradientMemory ?? .nothing)
  }

  func close() throws(MPIError) { try stream.close() }
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
