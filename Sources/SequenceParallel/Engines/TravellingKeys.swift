import Attention
import MPI
import Sharding
import Tensors

/// Queries stay; blocks of keys and values pass by, and their gradients follow them home.
final class TravellingKeys: AttentionEngine {
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

  /// Where this rank's own block lies.
  var ownBlock: Piece { stream.ownBlock }

  func packOwnBlock(_ body: (inout KeyValueBlock) throws -> Void) rethrows {
    var block = problem.block(of: rank, at: stream.ownBlock)
    try body(&block.value)
  }

  func forward(
    _ queries: borrowing QueryShard, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> AttentionOutput {
    var accumulator = ForwardAccumulator(
      shape: problem.shape, tokens: queries.tokens, scale: problem.scale,
      pattern: problem.pattern, scoreRule: problem.scoreRule, accumulation: problem.accumulation,
      team: team)
    timing = try stream.run(results: nil) { visit, poll in
      let block = problem.block(of: visit.owner, at: visit.block)
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

  func backward(
    _ queries: borrowing QueryShard, output: borrowing AttentionOutput,
    outputGradient: borrowing Tensor<Float>, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> AttentionGradients {
    let dq = try queryGradients(
      queries, output: output, outputGradient: outputGradient, progress: progress)
    let own = ownGradient
    return AttentionGradients(dq: dq, dk: own.value.dk(team: team), dv: own.value.dv(team: team))
  }

  /// The backward pass, which leaves what it finds out about this rank's keys in ``ownGradient``.
  ///
  /// - Returns: `dq`.
  func queryGradients(
    _ queries: borrowing QueryShard, output: borrowing AttentionOutput,
    outputGradient: borrowing Tensor<Float>, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> Tensor<Float> {
    let start = ContinuousClock.now
    try stream.reserveResults(problem.travellingKeys(.backward).results)
    var accumulator = BackwardAccumulator(
      shape: problem.shape, output: output, outputGradient: outputGradient, scale: problem.scale,
      pattern: problem.pattern, scoreRule: problem.scoreRule, accumulation: problem.accumulation,
      team: team)
    let prepared = ContinuousClock.now - start
    timing = try stream.run(results: problem.gradientSums(team)) { visit, poll in
      let block = problem.block(of: visit.owner, at: visit.block)
      var gradient = problem.gradient(of: visit.owner, at: visit.result)
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

  /// The gradients of this rank's keys and values after a backward pass, until the next one; they
  /// lie in the engine's memory.
  var ownGradient: Lent<KeyValueGradient> { problem.gradient(of: rank, at: stream.ownResult) }

  func close() throws(MPIError) {
    try stream.close()
  }
}

extension ShardedAttention {
  fileprivate func gradientSums(_ team: ThreadTeam) -> ResultOperations {
    ResultOperations(
      clear: { owner, memory in
        var gradient = gradient(of: owner, at: memory)
        gradient.value.clear(team: team)
      },
      add: { owner, memory, other in
        var gradient = gradient(of: owner, at: memory)
        gradient.value.add(self.gradient(of: owner, at: other).value, team: team)
      })
  }
}
