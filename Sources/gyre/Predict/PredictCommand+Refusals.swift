import ArgumentParser
import Attention
import Reporting
import SequenceParallel
import Sharding

/// What does not fit together, beyond what options say of themselves.
extension PredictCommand {
  /// Refuses rules of scores where they are not the command line's to say.
  func requireOwnRules() throws {
    try scoreRule.requireNoTensors()
    try position.requireRotationsAlone(headDims: [headDim])
    let rules = scoreRule.given + (position.pairing == nil ? [] : ["--rope"])
    guard let option = rules.first else { return }
    guard check.isEmpty else {
      throw ValidationError("--check predicts what its files hold; leave \(option) out.")
    }
    guard dilated == nil || option == "--rope" else {
      throw ValidationError(
        "\(option) cannot be used with --dilated, whose scores stay as they are; leave one of them "
          + "out.")
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
