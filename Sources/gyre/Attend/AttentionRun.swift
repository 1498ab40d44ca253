import Attention
import MPI
import Reporting
import SequenceParallel
import Tensors

/// Attention of this rank's queries, loaded and ready, in whatever way it is computed.
protocol AttentionRun: ~Copyable {
  /// Queries of this rank.
  var tokens: Int { get }
  /// The (query, key) pairs that this rank computes in a pass, over all heads and sequences.
  var pairs: Int { get }
  /// Where the time of the last pass went.
  var timing: Timing { get }
  /// The messages of this rank so far.
  var traffic: Traffic { get }

  mutating func forward(progress: (_ scores: Int) -> Void) throws -> AttentionOutput

  mutating func backward(
    output: borrowing AttentionOutput, outputGradient: borrowing Tensor<Float>,
    progress: (_ scores: Int) -> Void
  ) throws -> AttentionGradients

  /// Gives back what ranks share.
  consuming func close() throws
}

/// Attention in which blocks pass by the ranks.
struct DenseRun: ~Copyable, AttentionRun {
  var attention: DistributedAttention
  let queries: QueryShard
  let pairs: Int

  var tokens: Int { queries.tokens }
  var timing: Timing { attention.timing }
  var traffic: Traffic { attention.traffic }

  mutating func forward(progress: (_ scores: Int) -> Void) throws -> AttentionOutput {
    try attention.forward(queries, progress: progress)
  }

  mutating func backward(
    output: borrowing AttentionOutput, outputGradient: borrowing Tensor<Float>,
    progress: (_ scores: Int) -> Void
  ) throws -> AttentionGradients {
    try attention.backward(
      queries, output: output, outputGradient: outputGradient, progress: progress)
  }

  consuming func close() throws { try attention.close() }
}

/// Dilated attention.
struct DilatedRun: ~Copyable, AttentionRun {
  var attention: DilatedAttention
  let queries: QueryShard
  let keys: Tensor<Float>
  let values: Tensor<Float>

  var tokens: Int { queries.tokens }
  var pairs: Int { attention.pairs }
  var timing: Timing { attention.timing }
  var traffic: Traffic { attention.traffic }

  mutating func forward(progress: (_ scores: Int) -> Void) throws -> AttentionOutput {
    try attention.forward(queries, keys: keys, values: values, progress: progress)
  }

  mutating func backward(
    output: borrowing AttentionOutput, outputGradient: borrowing Tensor<Float>,
    progress: (_ scores: Int) -> Void
  ) throws -> AttentionGradients {
    try attention.backward(
      queries, keys: keys, values: values, output: output, outputGradient: outputGradient,
      progress: progress)
  }

  consuming func close() {}
}

extension AttendCommand {
  /// Runs the passes, timed from when all ranks are ready, with progress on a terminal.
  func measure<Run: AttentionRun & ~Copyable>(
    _ run: consuming Run, shape: AttentionShape, outputGradient: borrowing Tensor<Float>?,
    timeline: Timeline?, on world: borrowing Communicator
  ) throws -> PassResult {
    var progress = ProgressLine(
      total: run.pairs * (gradients ? 2 : 1) / threads,
      on: world.rank == 0 ? Terminal.openForProgress() : nil)
    try world.barrier()
    timeline?.restart()
    let start = ContinuousClock.now
    let output = try run.forward { progress.advance(by: $0) }
    let forwardEnd = ContinuousClock.now
    var timing = run.timing
    let passGradients: AttentionGradients? =
      switch outputGradient {
      case .some(let outputGradient):
        try run.backward(output: output, outputGradient: outputGradient) {
          progress.advance(by: $0)
        }
      case .none: nil
      }
    let end = ContinuousClock.now
    progress.clear()
    if gradients { timing = timing + run.timing }
    let flopsPerPair =
      shape.forwardFlopsPerPair + (gradients ? shape.backwardFlopsPerPair : 0)
    let report = RankReport(
      rank: world.rank, tokens: run.tokens, flops: Double(run.pairs) * Double(flopsPerPair),
      forward: forwardEnd - start, backward: end - forwardEnd, timing: timing,
      traffic: run.traffic)
    try run.close()
    return PassResult(
      output: output, gradients: passGradients, report: report, timeline: timeline)
  }
}
