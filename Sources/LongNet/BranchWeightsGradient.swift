/// How gradients see the weights by which the outputs of branches are merged.
public enum BranchWeightsGradient: Hashable, Sendable {
  /// As what they are: functions of the scores. The result is the gradient.
  case exact
  /// As constants, as in torchscale; not a gradient of anything, but what published models were
  /// trained with.
  case detached
}
