import ArgumentParser
import Attention
import Reporting
import SequenceParallel
import Sharding

/// What does not fit together, beyond what options say of themselves.
extension PredictCommand {
  /// Refuses rules of scores where they are not the command line's to say.
  func requireOwnRules() throws {
    try position.requirePairs(headDims: [headDim])
    let rules =
      scoreRule.given + (position.pairing == nil ? [] : ["--rope"])
      + (globalProjections ? ["--global-projections"] : [])
    if let option = rules.first, !check.isEmpty {
      throw ValidationError("--check predicts what its files hold; leave \(option) out.")
    }
    if globalProjections, masks.window.globals == nil || masks.window.etcRadius != nil {
      throw ValidationError(
        "--global-projections are of --globals, beside a --window; give both, or leave it out.")
    }
    if position.xpos, !masks.choice.isCausal {
      throw ValidationError(
        "--xpos makes keys count less the longer ago they were, and later ones more and more; give "
          + "--causal with it.")
    }
    if position.positionIds, position.pairing == nil, !scoreRule.alibi {
      throw ValidationError(
        "--position-ids says where tokens stand, and nothing asks; give --rope or --alibi with "
          + "it, or leave it out.")
    }
    try position.checkSinkPositions(masks.window, masks.choice, scoreRule)
    let ofMask = scoreRule.bias ? "--bias" : position.xpos ? "--xpos" : nil
    if let ofMask, dilated != nil {
      throw ValidationError(
        "With \(ofMask) and --dilated branches are one mask of dense attention, which is not "
          + "predicted; leave one of them out.")
    }
  }

  /// Refuses masks that dilated attention does not have, and more ranks than can be asked about.
  func checkMasks(_ ranks: [Int]) throws {
    guard check.isEmpty else { return }
    if let fewest = ranks.map(tokens(ranks:)).min() {
      do {
        try masks.window.check(keyTokens: fewest)
      } catch {
        throw ValidationError("\(error)")
      }
    }
    if dilated != nil {
      try masks.requireDilatable()
      if arithmetic != .f32 {
        throw ValidationError(
          "--arithmetic \(arithmetic) is not predicted with --dilated; leave it out.")
      }
      if layout == .balanced {
        throw ValidationError(
          "--layout balanced cannot be used with --dilated, whose work --placement divides; use "
            + "zigzag or contiguous.")
      }
      return
    }
    let mostTokens = ranks.map(tokens(ranks:)).max() ?? 0
    guard masks.choice.tensors.isEmpty || mostTokens <= Self.mostDrawnTokens else {
      throw ValidationError(
        "numbers of \(masks.choice) are drawn for up to \(grouped(Self.mostDrawnTokens)) tokens; "
          + "give fewer.")
    }
    let isKnown = masks.choice == .full || masks.choice == .causal && layout != .balanced
    if !isKnown, let most = ranks.max(), most > Self.mostAskedRanks {
      throw ValidationError(
        "what each rank sees of each other is asked of this mask for up to "
          + "\(grouped(Self.mostAskedRanks)) ranks; leave \(grouped(most)) out.")
    }
  }
}
