import ArgumentParser
import Attention
import SequenceParallel

extension AttendCommand {
  /// Refuses a decay where it makes no sense.
  func checkXPos() throws {
    guard positions.xpos else { return }
    guard masks.choice.isCausal else {
      throw ValidationError(
        "--xpos makes keys count less the longer ago they were, and later ones more and more; give "
          + "--causal with it.")
    }
    guard dilation.dilated == nil else {
      throw ValidationError(
        "--xpos cannot be used with --dilated, which has no decay; leave one of them out.")
    }
    guard !positions.positionIds, positions.sinkPositions == .original else {
      throw ValidationError(
        "--xpos goes by the order of tokens; leave --position-ids and --sink-positions out.")
    }
    guard !masks.ofInput.parallelWindows, !masks.ofInput.structured else {
      throw ValidationError(
        "--xpos goes by the order of tokens, and positions of context windows begin anew; leave "
          + "one of them out.")
    }
  }

  /// The twin of the decay; nil if there is none.
  func referenceDecay(_ input: AttentionInput, _ problem: some ShardedProblem) -> ReferenceDecay? {
    guard let decay = positions.decay(headDim: input.shape.headDim) else { return nil }
    return ReferenceDecay(
      bases: decay.bases, isInterleaved: positions.pairing == .interleaved,
      groupLength: XPosAttention.groupLength(of: problem.wire), keyTokens: input.keyTokens)
  }
}
