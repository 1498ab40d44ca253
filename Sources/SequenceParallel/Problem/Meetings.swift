package import Attention
package import Sharding
import Tensors

/// Which rank has work to do on the block of which owner: found out once for a problem, and shared
/// by all that asks where blocks go.
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

  /// Asks a pattern, for blocks of keys.
  ///
  /// - Parameter pattern: its `none` and `all` are promises about rectangles.
  package init(_ pattern: any AttentionPattern, keys: Sharding, queries: Sharding) {
    let keyRuns = RunTree(keys.shards)
    let queryRuns = RunTree(queries.shards)
    var seenKeys = [[Range<Int>]](repeating: [], count: queryRuns.count)
    var seeingQueries = [[Range<Int>]](repeating: [], count: keyRuns.count)
    queryRuns.forEachRectangle(seen: keyRuns, through: pattern) { queries, keys in
      for run in queries { seenKeys[run].append(keys) }
      for run in keys { seeingQueries[run].append(queries) }
    }
    owners = queryRuns.ranks(of: seenKeys, in: keyRuns, among: keys.ranks)
    visitors = keyRuns.ranks(of: seeingQueries, in: queryRuns, among: keys.ranks)
  }

  /// Asks every rank about every owner.
  package init(ranks: Int, sees: (_ rank: Int, _ owner: Int) -> Bool) {
    var owners = [[Range<Int>]](repeating: [], count: ranks)
    var visitors = owners
    for rank in 0..<ranks {
      for owner in 0..<ranks where sees(rank, owner) {
        owners[rank].append(owner..<owner + 1)
        visitors[owner].append(rank..<rank + 1)
      }
    }
    self.init(owners: owners.map(RankSet.init), visitors: visitors.map(RankSet.init))
  }

  private init(owners: [RankSet], visitors: [RankSet]) {
    self.owners = owners
    self.visitors = visitors
  }

  /// Those of blocks of queries: a rank has work to do on them if they see its keys.
  package var swapped: Meetings { Meetings(owners: visitors, visitors: owners) }

  /// Whether a rank has work to do on the block of an owner.
  package func meets(_ rank: Int, _ owner: Int) -> Bool { owners[rank].contains(owner) }
}
