import Attention
import Jobs
import MPI
import Reporting
import SequenceParallel
import Tensors

extension AttendCommand {
  /// Loads this rank's shard and runs the passes, in whatever way attention is computed.
  func compute<Operator: AttentionOperator & ~Copyable>(
    _ input: AttentionInput, of problem: some ShardedProblem, _ team: ThreadTeam,
    _ timeline: Timeline?, on world: borrowing Communicator, connect: () throws -> Operator
  ) throws -> PassResult {
    let start = ContinuousClock.now
    let queries = try world.agreed {
      try problem.loadQueries(input.q, rank: world.rank, team: team)
    }
    let outputGradient = try world.agreed {
      try input.outputGradient?.read(shard: queries.runs, team: team)
    }
    var attention = try connect()
    try world.agreed { try attention.load(keys: input.k, values: input.v) }
    return try measure(
      attention, queries, outputGradient: outputGradient, team, load: .now - start,
      timeline: timeline, on: world)
  }

  /// Runs the passes, timed from when all ranks are ready, with progress on a terminal.
  private func measure<Operator: AttentionOperator & ~Copyable>(
    _ attention: consuming Operator, _ queries: borrowing QueryShard,
    outputGradient: borrowing Tensor<Float>?, _ team: ThreadTeam, load: Duration,
    timeline: Timeline?,
    on world: borrowing Communicator
  ) throws -> PassResult {
    let (shape, pairs) = (attention.problem.shape, attention.pairs)
    var progress = ProgressLine(
      total: pairs * (gradients ? 2 : 1) / team.threads,
      on: world.rank == 0 ? Terminal.openForProgress() : nil)
    try world.barrier()
    timeline?.restart()
    let start = ContinuousClock.now
    let output = try attention.forward(queries) { progress.advance(by: $0) }
    let forwardEnd = ContinuousClock.now
    var timing = attention.timing
    let passGradients: AttentionGradients? =
      switch outputGradient {
      case .some(let outputGradient):
        try attention.backward(queries, output: output, outputGradient: outputGradient) {
          progress.advance(by: $0)
        }
      case .none: nil
      }
    let end = ContinuousClock.now
    progress.clear()
    if gradients { timing = timing + attention.timing }
    let flopsPerPair =
      shape.forwardFlopsPerPair + (gradients ? shape.backwardFlopsPerPair : 0)
    let report = RankReport(
      rank: world.rank, threads: team.threads, tokens: queries.tokens,
      flops: Double(pairs) * Double(flopsPerPair),
      load: load, forward: forwardEnd - start, backward: end - forwardEnd, timing: timing,
      traffic: attention.traffic)
    try attention.close()
    return PassResult(
      output: output, gradients: passGradients, report: report, timeline: timeline)
  }
}
