import Attention
import LongNet
import SequenceParallel

/// What `gyre attend` computes and how; all ranks have found the same.
enum AttendPlan {
  /// Blocks pass by the ranks.
  case dense(ShardedAttention, ChosenTransport, BackwardDecision?)
  /// Rows go where their branches are computed.
  case dilated(ShardedDilatedAttention, Placement, DilatedReport)

  /// What is computed.
  var problem: any ShardedProblem {
    switch self {
    case .dense(let problem, _, _): problem
    case .dilated(let problem, _, _): problem
    }
  }

  /// How blocks or rows travel, by name, what of blocks does, and why so.
  var transport: (name: String, travel: String?, reason: String) {
    switch self {
    case .dense(_, let choice, _):
      (choice.route.description, choice.route.travelling.rawValue, choice.reason)
    case .dilated: ("exchange", nil, "rows go where the placement computes them")
    }
  }

  /// What travels in the backward pass, where there is a choice.
  var backward: BackwardDecision? {
    switch self {
    case .dense(_, _, let decision): decision
    case .dilated: nil
    }
  }

  /// What the report says of dilated attention; nil for dense attention.
  var dilated: DilatedReport? {
    switch self {
    case .dense: nil
    case .dilated(_, _, let report): report
    }
  }
}
