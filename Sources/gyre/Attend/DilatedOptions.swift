import ArgumentParser
import LongNet

/// The options of `gyre attend` for dilated attention.
struct DilatedOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      """
      Dilated attention (LongNet): in segments of W tokens every R-th row attends to every R-th \
      row; or geometric:W0,R,COUNT for branches W0·R^i:R^i.
      """, valueName: "W:R,W:R,…"),
    transform: DilatedBranchList.init(parsing:))
  var dilated: DilatedBranchList?

  @Option(
    help: """
      Which rows a head selects: modulo starts head h with row h mod R, as the paper does; grouped \
      gives neighbouring heads the same rows, as torchscale does. (default: modulo)
      """)
  var headOffset: HeadOffset?

  @Option(
    help: """
      Where branches are computed. rate: each dilation rate has ranks of its own. sequence: where \
      their queries are; only keys and values travel. units: all segments in pieces of equal cost. \
      auto: the cheapest, by measured speeds. (default: auto)
      """)
  var placement: PlacementChoice?

  @Option(
    help: """
      How --gradients sees the weights by which branches are merged: exact, or detached as in \
      torchscale, which --verify does not check. (default: exact)
      """)
  var branchWeightsGradient: BranchWeightsChoice?

  func validate() throws {
    if dilated != nil { return }
    let orphan =
      headOffset != nil
      ? "--head-offset"
      : placement != nil
        ? "--placement"
        : branchWeightsGradient != nil ? "--branch-weights-gradient" : nil
    if let orphan {
      throw ValidationError(
        "\(orphan) is about dilated attention; give its branches with --dilated.")
    }
  }

  /// Whether gradients are those of constant branch weights.
  var isDetached: Bool { branchWeightsGradient == .detached }
}

/// The names of placements on the command line.
enum PlacementChoice: String, CaseIterable, ExpressibleByArgument {
  case rate, sequence, units, auto

  /// The placement, unless it is to be chosen.
  var placement: Placement? {
    switch self {
    case .rate: .rate
    case .sequence: .sequence
    case .units: .units
    case .auto: nil
    }
  }
}

/// The names of gradients of branch weights on the command line.
enum BranchWeightsChoice: String, CaseIterable, ExpressibleByArgument {
  case exact, detached
}
