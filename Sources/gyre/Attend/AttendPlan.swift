import Attention
import LongNet
import SequenceParallel
import Sharding

/// What `gyre attend` computes and how; all ranks have found the same.
enum AttendPlan {
  /// Blocks pass by the ranks.
  case dense(DensePlan)
  /// Rows go where their branches are computed.
  case dilated(ShardedDilatedAttention, PlacementExplanation)

  /// What is computed.
  var problem: any ShardedProblem {
    switch self {
    case .dense(let plan): plan.problem
    case .dilated(let problem, _): problem
    }
  }

  /// How blocks or rows travel, by name, what of blocks does, and why so.
  var transport: (name: String, travel: String?, reason: String) {
    switch self {
    case .dense(let plan):
      (
        plan.transport.route.description, plan.transport.route.travelling.rawValue,
        plan.transport.reason
      )
    case .dilated: ("exchange", nil, "rows go where the placement computes them")
    }
  }

  /// What travels in the backward pass, where there is a choice.
  var backward: BackwardDecision? {
    switch self {
    case .dense(let plan): plan.backward
    case .dilated: nil
    }
  }

  /// Why tokens are divided as they are; nil where that is not chosen.
  var layoutReason: String? {
    switch self {
    case .dense(let plan): plan.layoutReason
    case .dilated: nil
    }
  }

  /// Which ranks see how much of which blocks; nil for dilated attention.
  var coverage: CoverageReport? {
    switch self {
    case .dense(let plan): CoverageReport(plan.problem)
    case .dilated: nil
    }
  }

  /// What the report says of dilated attention; nil for dense attention.
  var dilated: DilatedReport? {
    switch self {
    case .dense(let plan): plan.dilated
    case .dilated(_, let explanation): explanation.report
    }
  }
}

/// Dense attention, divided among ranks, and the way that its blocks go.
struct DensePlan {
  let problem: ShardedAttention
  /// Why its tokens are divided as they are.
  let layoutReason: String
  /// What it costs on any route.
  let planner: RoutePlanner
  let transport: ChosenTransport
  /// Of the backward pass; nil if there is none.
  let backward: BackwardDecision?
  /// Rows of global tokens, where they are computed apart.
  let globals: PlannedGlobals?
  /// Its branches, if the mask is that of dilated attention.
  let dilated: DilatedReport?

  /// By name.
  var layout: String { problem.queries.layout?.rawValue ?? "explicit" }
}
