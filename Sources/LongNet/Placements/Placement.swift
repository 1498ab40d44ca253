import Attention
import Sharding
import Tensors

/// Where the branches of dilated attention are computed.
public enum Placement: Hashable, Sendable, CaseIterable {
  /// Each dilation rate has ranks of its own: rates are distributed over ranks, or ranks over
  /// rates, by their cost.
  case rate
  /// Every rank computes all branches for the queries that it holds; only keys and values travel.
  case sequence
  /// The list of all segments is cut into pieces of equal cost.
  case units
}

extension Placement {
  /// For each rank, its tasks.
  func tasks(
    _ families: [DilatedFamily], pattern: DilatedPattern, shape: AttentionShape, home: Sharding
  ) -> [[DilatedTask]] {
    let work = DilatedWork(families: families, isCausal: pattern.isCausal)
    switch self {
    case .sequence:
      return home.shards.map { work.tasks(ofQueriesIn: $0) }
    case .units:
      return work.cut(families.indices, into: home.ranks)
    case .rate:
      let branches = pattern.branches.indices.map { branch in
        families.indices.filter { families[$0].branchIndex == branch }
      }
      let costs = branches.map { $0.reduce(0) { $0 + work.cost(ofFamily: $1) } }
      if home.ranks < branches.count {
        return RateAssignment.packed(costs, onto: home.ranks).map { branchesOfRank in
          branchesOfRank.flatMap { work.cut(branches[$0], into: 1)[0] }
        }
      }
      return zip(branches, RateAssignment.ranks(costs, of: home.ranks)).flatMap { families, ranks in
        work.cut(families, into: ranks)
      }
    }
  }
}
