import Attention
import Reporting
import SequenceParallel
import Tensors

extension AttendCommand {
  /// What becomes of scores.
  ///
  /// - Parameter bias: what is here of a bias; nothing before it is loaded.
  func rule(_ input: AttentionInput, bias: [BiasPart]) -> (any ScoreRule)? {
    RuleSequence.joining([
      scoreRule.rule(
        heads: input.shape.queryHeads, slopes: input.alibiSlopes, queries: input.places.queries,
        keys: input.places.keys, bias: input.bias == nil ? nil : TensorBias(bias)),
      masks.choice.scoreRule(input.maskInputs),
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
    guard let bias = input.bias else { return [] }
    let forward = try problem.biasExtent(rank: rank, route: route, travelling: route.travelling)
    guard let backward else { return [(forward, false)] }
    let isShared = bias.shape[1] == 1 && problem.shape.queryHeads > 1
    guard !isShared || forward.heads.count == problem.shape.queryHeads else {
      throw UserError.usage(
        "The gradient of a bias that all heads share is a sum over them, and --transport "
          + "\(route) gives heads to different ranks; use --transport ring, or leave --gradients "
          + "out.")
    }
    let ofGradients = try problem.biasExtent(
      rank: rank, route: route, travelling: backward.travelling)
    return forward == ofGradients
      ? [(forward, true)] : [(forward, false), (ofGradients, true)]
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
