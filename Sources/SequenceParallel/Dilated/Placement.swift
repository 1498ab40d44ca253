import Attention
import Sharding
import Tensors

/// Where the branches of dilated attention are computed.
public enum Placement: Hashable, Sendable, CaseIterable {
  /// Each dilation rate has ranks of its own: rates are distributed over ranks, or ranks over rates,
  /// by their cost.
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

/// The assignment of dilation rates to ranks.
package enum RateAssignment {
  /// The number of ranks for each rate that makes the greatest cost a rank least.
  ///
  /// Each rate has one rank, and each further one goes to the rate whose ranks have most to do,
  /// which is optimal: taking a rank from any other rate cannot lower the maximum.
  ///
  /// - Precondition: there are at least as many ranks as rates.
  package static func ranks(_ costs: [Int], of ranks: Int) -> [Int] {
    precondition(ranks >= costs.count, "a rank for each rate")
    var counts = costs.map { _ in 1 }
    for _ in costs.count..<ranks {
      let busiest = costs.indices.max {
        Double(costs[$0]) / Double(counts[$0]) < Double(costs[$1]) / Double(counts[$1])
      }
      if let busiest { counts[busiest] += 1 }
    }
    return counts
  }

  /// For each rank, its rates: the costliest first, each to the rank with least to do so far.
  ///
  /// Source: Graham 1969, Bounds on Multiprocessing Timing Anomalies: at most 4/3 of the optimum.
  package static func packed(_ costs: [Int], onto ranks: Int) -> [[Int]] {
    var rates = [[Int]](repeating: [], count: ranks)
    var loads = [Int](repeating: 0, count: ranks)
    for rate in costs.indices.sorted(by: { (-costs[$0], $0) < (-costs[$1], $1) }) {
      let rank = loads.indices.min { (loads[$0], $0) < (loads[$1], $1) } ?? 0
      rates[rank].append(rate)
      loads[rank] += costs[rate]
    }
    return rates.map { $0.sorted() }
  }
}
