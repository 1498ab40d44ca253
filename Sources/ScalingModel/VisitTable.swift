import Attention
import Sharding
import Tensors

/// For each rank, a number for each of the ranks whose keys its queries see: their pairs, or the
/// seconds that these take.
///
/// Only what is not 0 is held, so that a window on a thousand ranks takes little.
struct VisitTable {
  /// For each rank, where its numbers begin; and the end of all.
  private var starts = [0]
  /// The owners of keys, ascending for each rank.
  private var owners: [Int32] = []
  private(set) var values: [Double] = []

  /// How many ranks there are.
  var ranks: Int { starts.count - 1 }

  /// Counts the pairs of one head by asking some queries of each rank which keys they see.
  ///
  /// Of up to 512 queries a rank all are asked, if there are not too many ranks for that, and the
  /// count is exact. Of more, up to as many are asked besides that see other than their neighbours.
  ///
  /// - Complexity: some fifty questions for each of about 130,000 queries.
  init(_ pattern: any AttentionPattern, queries: Sharding, keys: Sharding) {
    let ranks = queries.ranks
    let owned = OwnedRuns(keys)
    let all = PositionRange(0..<keys.tokens)
    var asked = max(16, min(512, (1 << 17) / ranks))
    // A range of keys is then of all ranks.
    if owned.areStrided { asked = max(8, min(asked, (1 << 24) / (ranks * ranks))) }
    var pairs = [Double](repeating: 0, count: ranks)
    var touched: [Int] = []
    let singular = pattern.singularQueries
    for runs in queries.shards {
      for (query, weight) in QuerySample(of: runs, besides: singular, most: asked).queries {
        for part in pattern.seenKeys(of: query, among: all, questions: 1024) {
          owned.forEachOwner(of: part.keys) { owner, count in
            if pairs[owner] == 0 { touched.append(owner) }
            pairs[owner] += weight * part.share * Double(count)
          }
        }
      }
      for owner in touched.sorted() {
        owners.append(Int32(owner))
        values.append(pairs[owner])
        pairs[owner] = 0
      }
      touched.removeAll(keepingCapacity: true)
      starts.append(owners.count)
    }
  }

  /// The number of a rank and an owner; 0 if there is none.
  @inline(__always)
  subscript(rank: Int, owner: Int) -> Double {
    let range = starts[rank]..<starts[rank + 1]
    // All owners are there, or it has to be looked for.
    if range.count == ranks { return values[range.lowerBound + owner] }
    var (low, high) = (range.lowerBound, range.upperBound)
    while low < high {
      let middle = (low + high) / 2
      if owners[middle] < Int32(owner) { low = middle + 1 } else { high = middle }
    }
    return low < range.upperBound && owners[low] == Int32(owner) ? values[low] : 0
  }

  /// The same with other numbers.
  func map(_ body: (_ rank: Int, _ owner: Int, _ value: Double) -> Double) -> VisitTable {
    var result = self
    for rank in 0..<ranks {
      for index in starts[rank]..<starts[rank + 1] {
        result.values[index] = body(rank, Int(owners[index]), values[index])
      }
    }
    return result
  }
}

/// Queries of a rank that stand for all of them.
private struct QuerySample {
  /// Positions, and how many queries each stands for.
  private(set) var queries: [(position: Int, weight: Double)] = []

  /// Takes queries at equal distances, and up to as many of the singular ones.
  init(of runs: [PositionRange], besides singular: [Range<Int>], most: Int) {
    let count = runs.reduce(0) { $0 + $1.count }
    let rows = min(count, most)
    var usual = (0..<rows).map { runs.position(at: (2 * $0 + 1) * count / (2 * rows)) }
    var others: [Int] = []
    if rows < count {
      for run in runs {
        for range in singular {
          guard let common = run.commonIndices(with: PositionRange(range)) else { continue }
          others += common.own.map { run[$0] }
        }
      }
    }
    let known = Set(others)
    usual.removeAll { known.contains($0) }
    take(usual, for: count - others.count)
    let chosen = min(others.count, most)
    take(
      (0..<chosen).map { others[(2 * $0 + 1) * others.count / (2 * chosen)] }, for: others.count)
  }

  /// Lets some positions stand for so many.
  private mutating func take(_ positions: [Int], for count: Int) {
    queries += positions.map { ($0, Double(count) / Double(positions.count)) }
  }
}

/// Who holds the keys of a range.
private struct OwnedRuns {
  private let runs: [PositionRange]
  private let owners: [Int]
  /// For each run in the order of starts, the last position of it and those before it.
  private let ends: [Int]
  /// Whether any run has gaps.
  let areStrided: Bool

  init(_ keys: Sharding) {
    let all = keys.shards.enumerated().flatMap { owner, runs in
      runs.filter { !$0.isEmpty }.map { (run: $0, owner: owner) }
    }.sorted { ($0.run.start, $0.owner) < ($1.run.start, $1.owner) }
    runs = all.map(\.run)
    owners = all.map(\.owner)
    areStrided = all.contains { !$0.run.isContiguous }
    var end = -1
    ends = all.map {
      end = max(end, $0.run.last ?? -1)
      return end
    }
  }

  /// Tells how many of some keys each rank holds, run by run.
  func forEachOwner(of keys: PositionRange, _ body: (_ owner: Int, _ count: Int) -> Void) {
    guard let first = keys.first, let last = keys.last else { return }
    var (low, high) = (0, runs.count)
    while low < high {
      let middle = (low + high) / 2
      if ends[middle] >= first { high = middle } else { low = middle + 1 }
    }
    for index in low..<runs.count {
      let run = runs[index]
      if run.start > last { break }
      let count: Int
      if run.isContiguous {
        count = Self.count(of: keys, in: run.start..<run.start + run.count)
      } else if keys.isContiguous {
        count = Self.count(of: run, in: first..<last + 1)
      } else {
        count = keys.commonIndices(with: run)?.own.count ?? 0
      }
      if count > 0 { body(owners[index], count) }
    }
  }

  /// How many positions of a run lie in a range.
  private static func count(of run: PositionRange, in range: Range<Int>) -> Int {
    func before(_ end: Int) -> Int {
      max(0, min(run.count, (end - run.start + run.stride - 1) / run.stride))
    }
    func countBefore(_ end: Int) -> Int { end <= run.start ? 0 : before(end) }
    return countBefore(range.upperBound) - countBefore(range.lowerBound)
  }
}
