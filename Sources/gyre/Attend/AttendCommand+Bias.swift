import Attention
import Reporting
import SequenceParallel
import Tensors

extension AttendCommand {
  /// What becomes of scores.
  ///
  /// - Parameters:
  ///   - queries: where queries stand; nil is where they are in the input.
  ///   - bias: what is here of a bias; nothing before it is loaded.
  ///   - labels: terms of labels.
  func rule(
    _ input: AttentionInput, queries: TokenPositions? = nil, bias: [BiasPart],
    labels: [LabelPart] = []
  ) -> (any ScoreRule)? {
    RuleSequence.joining([
      scoreRule.rule(
        heads: input.shape.queryHeads, slopes: input.alibiSlopes,
        queries: queries ?? input.places.queries,
        keys: input.places.keys, bias: input.bias == nil ? nil : TensorBias(bias)),
      masks.choice.scoreRule(input.maskInputs), labels.isEmpty ? nil : LabelBias(labels),
    ])
  }

  /// What a rank has to hold of a bias, and of which part it finds the gradients.
  ///
  /// - Parameters:
  ///   - route: of the forward pass.
  ///   - backward: nil if there is no such pass.
  func biasExtents(
    _ input: AttentionInput, _ problem: ShardedAttention, _ route: Route,
    _ backward: BackwardDecision?, rank: Int
  ) throws -> [(extent: BiasExtent, collectsGradients: Bool)] {
    guard input.bias != nil else { return [] }
    let forward = try problem.biasExtent(rank: rank, route: route, travelling: route.travelling)
    try requireOwnSinks(input, route, backward)
    guard let backward else { return [(forward, false)] }
    let ofGradients = try problem.biasExtent(
      rank: rank, route: route, travelling: backward.travelling)
    return forward == ofGradients
      ? [(forward, true)] : [(forward, false), (ofGradients, true)]
  }

  /// Refuses ways on which a rank lacks the biases of its own queries and sinks that it computes
  /// apart.
  private func requireOwnSinks(
    _ input: AttentionInput, _ route: Route, _ backward: BackwardDecision?
  ) throws {
    // With a decay sinks go the way of the route, as other keys do.
    guard positions.sinkPositions == .cache, !positions.xpos else { return }
    let isOwn =
      route.travelling == .keys && route.heads == .nobody && backward?.travelling != .queries
    guard !isOwn else { return }
    throw UserError.usage(
      "With --sink-positions cache each rank computes all heads of its own queries with the sinks, "
        + "and where queries travel or ranks share heads it has other parts of the bias; use "
        + "--transport ring with --backward-route kv, or leave --bias out.")
  }

  /// Reads it.
  func loadBias(
    _ input: AttentionInput, _ problem: ShardedAttention, _ route: Route,
    _ backward: BackwardDecision?, rank: Int
  ) throws -> [BiasPart] {
    guard let bias = input.bias else { return [] }
    return try biasExtents(input, problem, route, backward, rank: rank).map {
      try $0.extent.load(
        bias, batch: input.shape.batch, collectsGradients: $0.collectsGradients)
    }
  }
}
