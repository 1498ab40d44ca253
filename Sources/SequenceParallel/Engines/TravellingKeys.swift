import Attention
import MPI
import Sharding
import Tensors

/// Queries stay; blocks of keys and values pass by, and their gradients follow them home.
final class TravellingKeys: PassEngine {
  private let problem: ShardedAttention
  private let team: ThreadTeam
  private let rank: Int
  private let stream: any BlockStream
  private(set) var timing = Timing()

  /// - Parameter stream: of the blocks of the problem's keys.
  init(_ problem: ShardedAttention, stream: any BlockStream, team: ThreadTeam, rank: Int) {
    self.problem = problem
    self.team = team
    self.rank = rank
    self.stream = stream
  }

  var traffic: Traffic { stream.traffic }

  /// Copies this rank's own block to where the stream begins, unless it lies there.
  func takeOwnBlock(from piece: Piece) { stream.ownBlock.copy(from: piece) }

  func forward(
    _ queries: borrowing QueryShard, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> AttentionOutput {
    var accumulator = ForwardAccumulator(
      shape: problem.shape, tokens: queries.tokens, scale: problem.scale,
      pattern: problem.pattern, scoreRule: problem.scoreRule, accumulation: problem.accumulation,
      arithmetic: problem.arithmetic, team: team)
    timing = try stream.run(results: nil) { visit, poll in
      let block = problem.block(of: visit.owner, visit.runs, at: visit.block)
      accumulator.attend(queries, to: block.value) { scores in
        progress(scores)
        poll()
      }
    }
    let start = ContinuousClock.now
    let output = accumulator.finish()
    timing.computing += ContinuousClock.now - start
    return output
  }

  func queryGradients(
    _ queries: borrowing QueryShard, output: borrowing AttentionOutput,
    outputGradient: borrowing Tensor<Float>, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> Tensor<Float> {
    let start = ContinuousClock.now
    try stream.reserveResults(problem.keys.runSizes(bytesPerToken: gradientBytes))
    var accumulator = BackwardAccumulator(
      shape: problem.shape, output: output, outputGradient: outputGradient, scale: problem.scale,
      pattern: problem.pattern, scoreRule: problem.scoreRule, accumulation: problem.accumulation,
      arithmetic: problem.arithmetic, team: team)
    let prepared = ContinuousClock.now - start
    timing = try stream.run(results: problem.gradientSums(team)) { visit, poll in
      let block = problem.block(of: visit.owner, visit.runs, at: visit.block)
      var gradient = problem.gradient(of: visit.owner, visit.runs, at: visit.result)
      accumulator.attend(
        queries, outputGradient: outputGradient, to: block.value, addingTo: &gradient.value,
        part: visit.part
      ) { scores in
        progress(scores)
        poll()
      }
    }
    timing.computing += prepared
    return accumulator.finish()
  }

  func ownGradients(_ body: (_ keys: Range<Int>, borrowing KeyValueGradient) -> Void) {
    for runs in stream.ownParcels {
      let keys = problem.keys.indices(of: rank, runs)
      let gradient = problem.gradient(
        of: rank, runs, at: stream.ownResult.tokens(keys, bytesPerToken: gradientBytes))
      body(keys, gradient.value)
    }
  }

  /// Those of a key and its value.
  private var gradientBytes: Int {
    KeyValueGradient.byteCount(keys: 1, shape: problem.shape, accumulation: problem.accumulation)
  }

  func close() throws(MPIError) {
    try stream.close()
  }
}

extension ShardedAttention {
  fileprivate func gradientSums(_ team: ThreadTeam) -> ResultOperations {
    ResultOperations(
      clear: { owner, runs, memory in
        var gradient = gradient(of: owner, runs, at: memory)
        gradient.value.clear(team: team)
      },
      add: { owner, runs, memory, other in
        var gradient = gradient(of: owner, runs, at: memory)
        gradient.value.add(self.gradient(of: owner, runs, at: other).value, team: team)
      })
  }
}
