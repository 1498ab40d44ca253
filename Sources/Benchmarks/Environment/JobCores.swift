package import Hosts
import Reporting

/// The cores that the ranks of a job may run on.
package struct JobCores {
  /// In the order of their first ranks.
  private let byHost: [[RankPlace]]

  package init(_ places: [RankPlace]) {
    byHost = places.grouped { $0.host == $1.host && $0.machine == $1.machine }
  }

  /// What is said of each host.
  var hosts: [BenchEnvironment.Host] {
    byHost.map { places in
      BenchEnvironment.Host(
        name: places[0].host, ranks: places.count,
        cores: ProcessorGrant.count(places.cores.count, places.quota),
        coresOfRanks: places.map(\.grant.coreCount), coreQuota: Nullable(value: places.quota))
    }
  }

  /// How many machines the hosts are in truth.
  var machines: Int { Set(byHost.map { $0[0].machine }).count }

  /// Whether some ranks have more threads than there are cores for them, or time on those.
  package func isOversubscribed(threads: Int) -> Bool {
    let isOverQuota = byHost.contains { places in
      places.quota.map { Double(places.count * threads) > $0 } ?? false
    }
    let byMachine = byHost.grouped { $0[0].machine == $1[0].machine }.map { Array($0.joined()) }
    return isOverQuota || byMachine.contains { isCrowded($0, threads: threads) }
  }

  /// Whether there are cores to which more threads are kept than they are: those of a rank, or of
  /// ranks that share some.
  private func isCrowded(_ places: [RankPlace], threads: Int) -> Bool {
    var groups: [Set<Int>] = []
    for place in places {
      let near = groups.filter { !$0.isDisjoint(with: place.grant.cores) }
      groups.removeAll { !$0.isDisjoint(with: place.grant.cores) }
      groups.append(near.reduce(place.grant.cores) { $0.union($1) })
    }
    return Set(groups + places.map(\.grant.cores)).contains { cores in
      places.count { $0.grant.cores.isSubset(of: cores) } * threads > cores.count
    }
  }
}

extension [RankPlace] {
  /// All that any of them may run on.
  fileprivate var cores: Set<Int> { reduce(into: []) { $0.formUnion($1.grant.cores) } }

  /// Ranks of a host are of one control group.
  fileprivate var quota: Double? { compactMap(\.grant.quota).min() }
}

extension Array {
  /// Those that are alike side by side, in the order of the first of each group.
  fileprivate func grouped(_ areAlike: (Element, Element) -> Bool) -> [[Element]] {
    var groups: [[Element]] = []
    for element in self {
      if let place = groups.firstIndex(where: { areAlike($0[0], element) }) {
        groups[place].append(element)
      } else {
        groups.append([element])
      }
    }
    return groups
  }
}
