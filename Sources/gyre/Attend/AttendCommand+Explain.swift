import Attention
import Jobs
import MPI
import Plots
import Reporting
import SequenceParallel
import Tensors

extension AttendCommand {
  /// Prints the plan and draws the mask, where that is asked for; called by all ranks together.
  func explain(
    _ plan: AttendPlan, into picture: OutputTarget?, on world: borrowing Communicator
  ) throws {
    guard explaining.explain || explaining.picture != nil else { return }
    switch plan {
    case .dense(let plan):
      // Each rank counts its own.
      let pairs = try world.gather([plan.problem.visiblePairs(rank: world.rank)], at: 0)
      try world.agreed {
        guard let pairs else { return }
        let text = PlanReport(plan, pairs: pairs.map { $0[0] })
        if let picture {
          try picture.write(Array(maskPicture(of: plan, text).svg.utf8))
        }
        guard explaining.explain else { return }
        try printReport(
          report == .json
            ? jsonLine(WithPattern(masks.choice, text)) : text.text("\(masks.choice)"))
      }
    case .dilated(_, let explanation):
      try world.agreed {
        guard world.rank == 0 else { return }
        try printReport(
          report == .json ? jsonLine(PlacementPlanReport(explanation)) : explanation.text)
      }
    }
  }

  private func maskPicture(of plan: DensePlan, _ report: PlanReport) -> MaskPicture {
    let problem = plan.problem
    let raster = MaskRaster(problem.pattern, queries: problem.queries, keys: problem.keys)
    let squares = raster.squares.enumerated().map { row, coverages in
      coverages.enumerated().map { column, coverage -> MaskPicture.Square in
        let owner = raster.queryOwners[row]
        let isOwn = owner != nil && owner == raster.keyOwners[column]
        return switch coverage {
        case .none: .hidden
        case .some: isOwn ? .ownSome : .othersSome
        case .all: isOwn ? .own : .others
        }
      }
    }
    let squareWords = raster.side == 1 ? "" : "; a square is \(grouped(raster.side)) tokens wide"
    let length =
      report.tokens == report.keyTokens
      ? counted(report.tokens, "token")
      : "\(grouped(report.tokens)) queries over \(grouped(report.keyTokens)) keys"
    return MaskPicture(
      title: capitalized("\(masks.choice)"),
      subtitle: "\(length), \(counted(report.ranks, "rank")), \(report.layout) layout, the busiest "
        + "\(fixed(report.workImbalance, 2)) times the mean\(squareWords)",
      squares: squares, rowOwners: raster.queryOwners, columnOwners: raster.keyOwners,
      queries: report.tokens, keys: report.keyTokens)
  }
}
