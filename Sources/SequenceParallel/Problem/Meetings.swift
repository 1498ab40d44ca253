package import Attention
package import Sharding
import Tensors

/// Which rank has work to do on the block of which owner, and on which runs of it: found out once
/// for a problem, and shared by all that asks where blocks go.
///
/// Shards are runs of positions, and what a mask lets through is mostly a region with few edges. So
/// a rectangle of many runs is asked for at once, and only halved where an edge goes through it:
/// with the usual masks and layouts there are O(P) questions, and P² only where a pattern is unsure
/// everywhere.
package struct Meetings: Hashable, Sendable {
  /// For each rank, the owners whose blocks it has work to do on.
  package let owners: [RankSet]
  /// For each owner, the ranks that have work to do on its block.
  package let visitors: [RankSet]
  /// For each owner, for each run of its block, the ranks that have work to do on it.
  package let runVisitors: [[RankSet]]
  /// For each rank, for each run of what stays there, the owners whose blocks have work for it.
  private let runOwners: [[RankSet]]

  /// Asks a pattern, for blocks of keys.
  ///
  /// - Parameters:
  ///   - pattern: its `none` and `all` are promises about rectangles.
  ///   - partial: is told the pairs of runs of which the pattern says `some`.
  package init(
    _ pattern: any AttentionPattern, keys: Sharding, queries: Sharding,
    partial: (PartialPair) -> Void = { _ in }
  ) {
    let keyRuns = RunTree(keys.shards)
    let queryRuns = RunTree(queries.shards)
    var seenKeys = [[Range<Int>]](repeating: [], count: queryRuns.count)
    var seeingQueries = [[Range<Int>]](repeating: [], count: keyRuns.count)
    queryRuns.forEachRectangle(seen: keyRuns, through: pattern) { queries, keys, isPartial in
      for run in queries { seenKeys[run].append(keys) }
      for run in keys { seeingQueries[run].append(queries) }
      guard isPartial, let query = queries.first, let key = keys.first else { return }
      partial(PartialPair(query: queryRuns.place(of: query), key: keyRuns.place(of: key)))
    }
    self.init(
      runVisitors: keyRuns.ranks(of: seeingQueries, in: queryRuns, among: keys.ranks),
      runOwners: queryRuns.ranks(of: seenKeys, in: keyRuns, among: keys.ranks))
  }

  /// A run of queries that sees some of a run of keys: who holds them, and which of its runs they
  /// are.
  package struct PartialPair {
    let query: (rank: Int, number: Int)
    let key: (rank: Int, number: Int)
  }

  /// Asks every rank about every owner, whose block is one run.
  package init(ranks: Int, sees: (_ rank: Int, _ owner: Int) -> Bool) {
    self.init(ranks: ranks, runs: [Int](repeating: 1, count: ranks)) { rank, owner, _ in
      sees(rank, owner)
    }
  }

  /// Asks every rank about every run of every owner.
  ///
  /// - Parameter runs: for each owner, how many there are.
  package init(
    ranks: Int, runs: [Int], sees: (_ rank: Int, _ owner: Int, _ run: Int) -> Bool
  ) {
    var owners = [[Range<Int>]](repeating: [], count: ranks)
    let visitors = (0..<ranks).map { owner in
      (0..<runs[owner]).map { run in
        RankSet(
          (0..<ranks).filter { sees($0, owner, run) }.map { rank in
            owners[rank].append(owner..<owner + 1)
            return rank..<rank + 1
          })
      }
    }
    self.init(runVisitors: visitors, runOwners: owners.map { [RankSet($0)] })
  }

  private init(runVisitors: [[RankSet]], runOwners: [[RankSet]]) {
    func whole(_ runs: [[RankSet]]) -> [RankSet] {
      runs.map { $0.count == 1 ? $0[0] : RankSet(uniting: $0) }
    }
    self.init(
      owners: whole(runOwners), visitors: whole(runVisitors), runVisitors: runVisitors,
      runOwners: runOwners)
  }

  private init(
    owners: [RankSet], visitors: [RankSet], runVisitors: [[RankSet]], runOwners: [[RankSet]]
  ) {
    self.owners = owners
    self.visitors = visitors
    self.runVisitors = runVisitors
    self.runOwners = runOwners
  }

  /// Those of blocks of queries: a rank has work to do on them if they see its keys.
  package var swapped: Meetings {
    Meetings(
      owners: visitors, visitors: owners, runVisitors: runOwners, runOwners: runVisitors)
  }

  /// Whether a rank has work to do on the block of an owner.
  package func meets(_ rank: Int, _ owner: Int) -> Bool { owners[rank].contains(owner) }
}
