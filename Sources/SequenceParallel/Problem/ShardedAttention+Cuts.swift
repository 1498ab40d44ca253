import Attention
import Sharding
import Tensors

extension ShardedAttention {
  /// The same problem with each run cut where what other ranks see of it ends, so that parts that
  /// nobody else sees stay where they are; and who meets whom then.
  ///
  /// Of a contiguous shard under a window it leaves the halo of the next rank and the rest. Rows
  /// stay in their order. Nothing is cut off that has fewer than ``leastCut`` tokens: it would save
  /// less than a message and two more tiles take.
  ///
  /// - Complexity: O(log n) questions to the pattern for each pair of runs of n tokens that see
  ///   each other in part; of these as many are looked at as masks with edges have.
  func cutAtSight() -> (problem: ShardedAttention, meetings: Meetings) {
    var pairs: [Meetings.PartialPair] = []
    let runs = (keys.shards + queries.shards).reduce(0) { $0 + $1.count }
    let meetings = Meetings(pattern, keys: keys, queries: queries) { pair in
      if pair.key.rank != pair.query.rank, pairs.count < Self.pairsPerRun * runs {
        pairs.append(pair)
      }
    }
    var keyCuts = RunCuts(keys, unit: accumulation.granularity, least: Self.leastCut)
    var queryCuts = RunCuts(queries, unit: accumulation.granularity, least: Self.leastCut)
    for pair in pairs {
      let key = keys.shards[pair.key.rank][pair.key.number]
      let query = queries.shards[pair.query.rank][pair.query.number]
      keyCuts.look(at: pair.key) { pattern.coverage(keys: $0, queries: query) == .none }
      queryCuts.look(at: pair.query) { pattern.coverage(keys: key, queries: $0) == .none }
    }
    if keyCuts.isEmpty && queryCuts.isEmpty { return (self, meetings) }
    let problem = ShardedAttention(
      shape: shape, queries: queryCuts.sharding, keys: keyCuts.sharding, pattern: pattern,
      scoreRule: scoreRule, scale: scale, wire: wire, accumulation: accumulation)
    return (problem, Meetings(pattern, keys: problem.keys, queries: problem.queries))
  }

  /// The fewest tokens that are worth a cut.
  private static var leastCut: Int { 64 }

  /// How many pairs are looked at for each run, which is enough for masks with edges.
  private static var pairsPerRun: Int { 16 }
}

/// Where the runs of shards are to be cut.
private struct RunCuts {
  private let whole: Sharding
  private let unit: Int
  private let least: Int
  private var cuts: [RunPlace: Set<Int>] = [:]
  /// How each run was seen last: as a rule others see the same of it.
  private var sights: [RunPlace: Sight] = [:]

  private struct RunPlace: Hashable {
    let rank: Int
    let number: Int
  }

  init(_ whole: Sharding, unit: Int, least: Int) {
    self.whole = whole
    self.unit = unit
    self.least = least
  }

  var isEmpty: Bool { cuts.isEmpty }

  /// Cuts a run where what is seen of it from somewhere begins and ends.
  mutating func look(
    at place: (rank: Int, number: Int), isHidden: (PositionRange) -> Bool
  ) {
    let run = whole.shards[place.rank][place.number]
    let place = RunPlace(rank: place.rank, number: place.number)
    if let last = sights[place], last.isSame(run, isHidden: isHidden) { return }
    let sight = Sight(of: run, unit: unit, least: least, isHidden: isHidden)
    if sight.cuts.isEmpty { return }
    cuts[place, default: []].formUnion(sight.cuts)
    sights[place] = sight
  }

  /// The same shards with their runs cut.
  var sharding: Sharding {
    if cuts.isEmpty { return whole }
    return Sharding(
      layout: whole.layout, tokens: whole.tokens,
      shards: whole.shards.enumerated().map { rank, runs in
        runs.enumerated().flatMap { number, run in
          let inner = cuts[RunPlace(rank: rank, number: number)] ?? []
          let ends = [0] + inner.sorted() + [run.count]
          return zip(ends, ends.dropFirst()).map { run.slice($0..<$1) }
        }
      })
  }
}
