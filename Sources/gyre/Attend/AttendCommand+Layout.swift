import Attention
import Reporting
import SequenceParallel
import Sharding

extension AttendCommand {
  var accumulation: Accumulation { reproducible ? .reproducible : .fast }

  /// Divides queries and keys among ranks, in the layout asked for or the best.
  func divide(
    _ input: AttentionInput, under pattern: any AttentionPattern, ranks: Int
  ) throws -> LayoutDecision {
    try requireWeights(ranks: ranks)
    let planner = LayoutPlanner(
      pattern, shape: input.shape, tokens: input.tokens, keyTokens: input.keyTokens, ranks: ranks,
      granularity: accumulation.granularity, weights: weights)
    guard let decision = planner.decide(layout) else {
      throw UserError.usage("--weights cannot be used with --layout \(layout ?? .striped).")
    }
    return decision
  }

  /// Divides the tokens of dilated attention, whose work does not depend on it as much.
  func sharding(tokens: Int, ranks: Int) throws -> Sharding {
    try requireWeights(ranks: ranks)
    let layout = layout ?? masks.choice.usualLayout
    guard let weights else { return Sharding(layout, tokens: tokens, ranks: ranks) }
    guard let sharding = Sharding(layout, tokens: tokens, weights: weights) else {
      throw UserError.usage("--weights cannot be used with --layout \(layout).")
    }
    return sharding
  }

  private func requireWeights(ranks: Int) throws {
    guard let weights, weights.count != ranks else { return }
    throw UserError.usage(
      "--weights has \(weights.count) numbers for \(ranks) ranks; give one for each rank.")
  }
}
