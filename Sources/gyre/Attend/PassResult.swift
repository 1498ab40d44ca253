import Attention
import SequenceParallel

/// What one rank has after a run.
struct PassResult: ~Copyable {
  let output: AttentionOutput
  /// Nil unless gradients were asked for.
  var gradients: AttentionGradients?
  /// Has the gradients of this rank's part of a bias; nil if there are none.
  var bias: BiasPart?
  /// Of tables of labels; nil if there are none.
  var labels: (keys: [Float], biases: [Float])?
  let report: RankReport
  /// Nil unless a trace was asked for.
  let timeline: Timeline?
}
