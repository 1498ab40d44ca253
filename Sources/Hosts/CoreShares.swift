extension [RankPlace] {
  /// How many threads each of these ranks has where nobody says: its part of the cores.
  ///
  /// Every core that a rank may use goes to one of those that may use it, so that the rank with
  /// fewest has as many as can be, and of those left over the first ranks have one more. Ranks that
  /// are bound apart have all of theirs; where there are fewer cores than ranks, or less time on
  /// them than a control group's quota grants, each still has one thread.
  ///
  /// - Complexity: O(ranks² · cores) of a machine where cores are short, ranks · cores where not.
  package var threadShares: [Int] {
    var shares = [Int](repeating: 1, count: count)
    for machine in Dictionary(grouping: indices, by: { self[$0].machine }).values {
      for (rank, share) in zip(machine, Self.divide(machine.map { self[$0] })) {
        shares[rank] = Swift.max(1, share)
      }
    }
    return shares
  }

  /// The cores of one machine for its ranks; none for those that there are none left for.
  private static func divide(_ ranks: [RankPlace]) -> [Int] {
    // Ranks of a host are of one control group.
    var time = Dictionary(grouping: ranks, by: \.host).mapValues { ranks -> Int in
      let quota = ranks.compactMap(\.grant.quota).min()
      return quota.map { Swift.max(1, Int($0.rounded(.up))) } ?? .max
    }
    var division = CoreDivision(ranks.map(\.grant.cores))
    var shares = [Int](repeating: 0, count: ranks.count)
    var open = [Int](ranks.indices)
    // A core for each in turn: who cannot get one now never will.
    while !open.isEmpty {
      open = open.filter { rank in
        guard time[ranks[rank].host, default: 0] > 0, division.give(to: rank) else { return false }
        time[ranks[rank].host, default: 0] -= 1
        shares[rank] += 1
        return true
      }
    }
    return shares
  }
}

/// Which rank a core has gone to: a matching between cores and ranks, made larger one by one.
private struct CoreDivision {
  /// By rank, the cores that it may have, numbered from 0.
  private let mayHave: [[Int]]
  private var owner: [Int?]

  init(_ cores: [Set<Int>]) {
    let all = cores.reduce(into: Set()) { $0.formUnion($1) }.sorted()
    let number = Dictionary(uniqueKeysWithValues: zip(all, 0...))
    mayHave = cores.map { $0.sorted().compactMap { number[$0] } }
    owner = [Int?](repeating: nil, count: all.count)
  }

  /// Gives a rank one more core, if need be by moving others to cores that they may have as well
  /// (an augmenting path); false if that cannot be.
  mutating func give(to rank: Int) -> Bool {
    var seen = [Bool](repeating: false, count: owner.count)
    return give(to: rank, &seen)
  }

  private mutating func give(to rank: Int, _ seen: inout [Bool]) -> Bool {
    if let free = mayHave[rank].first(where: { owner[$0] == nil }) {
      owner[free] = rank
      return true
    }
    for core in mayHave[rank] where !seen[core] {
      seen[core] = true
      guard let other = owner[core], other != rank, give(to: other, &seen) else { continue }
      owner[core] = rank
      return true
    }
    return false
  }
}
