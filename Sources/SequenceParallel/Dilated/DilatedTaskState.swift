import Attention
import Tensors

/// The queries of a task, gathered, and what they have found out about the keys so far.
///
/// Rows are numbered as they follow one another, so that a task is attention over short dense
/// sequences, and kernels run on it at full speed.
struct DilatedTaskState: ~Copyable {
  private let queries: QueryShard
  private var accumulator: ForwardAccumulator

  /// - Parameters:
  ///   - queries: `[segments, queries, heads, headDim]`.
  ///   - shape: of the dense problem.
  init(
    queries: consuming Tensor<Float>, task: DilatedTask, shape: AttentionShape, isCausal: Bool,
    scale: Double, team: ThreadTeam
  ) {
    self.queries = QueryShard(queries, runs: task.queries)
    accumulator = ForwardAccumulator(
      shape: shape, tokens: task.queryCount, scale: scale,
      pattern: isCausal ? CausalPattern() : FullPattern(), team: team)
  }

  mutating func attend(to block: borrowing KeyValueBlock, poll: (_ scores: Int) -> Void) {
    accumulator.attend(queries, to: block, poll: poll)
  }

  consuming func finish() -> AttentionOutput { accumulator.finish() }
}
