import Attention
import SequenceParallel

/// What one rank has after a run.
struct PassResult: ~Copyable {
  let output: AttentionOutput
  /// Nil unless gradients were asked for.
  var gradients: AttentionGradients?
  let report: RankReport
  /// Nil unless a trace was asked for.
  let timeline: Timeline?
}
