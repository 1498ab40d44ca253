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
