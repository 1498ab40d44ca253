import Attention
import Tensors

/// The runs of all shards in the order of their starts, halved again and again, so that a pattern
/// can be asked about many of them at once.
struct RunTree {
  private let runs: [PositionRange]
  /// For each run, the rank that holds it.
  private let ranks: [Int]
  /// For each run, its number among those of its rank.
  private let numbers: [Int]
  /// For each rank, how many runs it has.
  private let runCounts: [Int]
  private var nodes: [Node] = []

  /// Some neighbouring runs.
  private struct Node {
    let runs: Range<Int>
    /// Positions between the first and the last; a single run as it is.
    let hull: PositionRange
    /// Rows that hold a position of every run; none where the hull says as much.
    ///
    /// What is true of all pairs of two such rows is true of some pair of any two runs.
    let witnesses: [PositionRange]
    /// The index of the first half, which the second follows; nil for a single run.
    var halves: (Int, Int)?
  }

  init(_ shards: [[PositionRange]]) {
    let all = shards.enumerated().flatMap { rank, runs in
      runs.enumerated().filter { !$0.element.isEmpty }.map {
        (run: $0.element, rank: rank, number: $0.offset)
      }
    }.sorted { ($0.run.start, $0.rank) < ($1.run.start, $1.rank) }
    runs = all.map(\.run)
    ranks = all.map(\.rank)
    numbers = all.map(\.number)
    runCounts = shards.map(\.count)
    if !runs.isEmpty { _ = addNode(runs.indices) }
  }

  var count: Int { runs.count }

  /// Whose a run is, and its number among those of its rank.
  func place(of run: Int) -> (rank: Int, number: Int) { (ranks[run], numbers[run]) }

  @discardableResult
  private mutating func addNode(_ range: Range<Int>) -> Int {
    let index = nodes.count
    if range.count == 1 {
      nodes.append(Node(runs: range, hull: runs[range.lowerBound], witnesses: [], halves: nil))
      return index
    }
    nodes.append(
      Node(runs: range, hull: hull(range), witnesses: witnesses(range), halves: nil))
    let middle = (range.lowerBound + range.upperBound) / 2
    let first = addNode(range.lowerBound..<middle)
    let second = addNode(middle..<range.upperBound)
    nodes[index].halves = (first, second)
    return index
  }

  private func hull(_ range: Range<Int>) -> PositionRange {
    let end = range.reduce(0) { max($0, (runs[$1].last ?? 0) + 1) }
    return PositionRange(runs[range.lowerBound].start..<end)
  }

  /// The first rows, the last, and those before the last, of runs that lie between each other at
  /// equal distances, as those of striped shards.
  private func witnesses(_ range: Range<Int>) -> [PositionRange] {
    let first = runs[range.lowerBound]
    let distance = runs[range.lowerBound + 1].start - first.start
    guard distance > 0, (first.last ?? 0) > runs[range.lowerBound + 1].start else { return [] }
    var rows = first.count
    for (place, index) in range.enumerated() {
      guard runs[index].stride == first.stride,
        runs[index].start == first.start + place * distance
      else { return [] }
      rows = min(rows, runs[index].count)
    }
    return [rows - 1, 0, rows - 2].filter { $0 >= 0 }.map {
      PositionRange(
        start: first.start + $0 * first.stride, stride: distance, count: range.count)
    }
  }

  /// Finds rectangles of runs in which each run of queries, these, sees each run of keys.
  ///
  /// - Parameter body: is also told whether it is one run of either, which may not be seen whole.
  func forEachRectangle(
    seen keys: RunTree, through pattern: any AttentionPattern,
    _ body: (_ queries: Range<Int>, _ keys: Range<Int>, _ isPartial: Bool) -> Void
  ) {
    if nodes.isEmpty || keys.nodes.isEmpty { return }
    // A stack instead of recursion: the pairs that are still to be asked about.
    var open = [(0, 0)]
    while let (queryIndex, keyIndex) = open.popLast() {
      let (query, key) = (nodes[queryIndex], keys.nodes[keyIndex])
      switch pattern.coverage(keys: key.hull, queries: query.hull) {
      case .none: continue
      case .all: body(query.runs, key.runs, false)
      case .some:
        let halves = (query.halves, key.halves)
        if halves.0 == nil && halves.1 == nil {
          body(query.runs, key.runs, true)
        } else if isWitnessed(query, key, pattern) {
          body(query.runs, key.runs, false)
        } else if let (first, second) = halves.0,
          halves.1 == nil || query.runs.count > key.runs.count
        {
          open += [(second, keyIndex), (first, keyIndex)]
        } else if let (first, second) = halves.1 {
          open += [(queryIndex, second), (queryIndex, first)]
        }
      }
    }
  }

  private func isWitnessed(
    _ queries: Node, _ keys: Node, _ pattern: any AttentionPattern
  ) -> Bool {
    queries.witnesses.contains { query in
      keys.witnesses.contains { pattern.coverage(keys: $0, queries: query) == .all }
    }
  }

  /// For each rank of these runs, for each of its runs, the ranks of others.
  ///
  /// - Parameter others: for each of these runs, ranges of runs of another tree.
  func ranks(of others: [[Range<Int>]], in tree: RunTree, among count: Int) -> [[RankSet]] {
    var found = runCounts.map { [RankSet](repeating: RankSet([]), count: $0) }
    let stretches = tree.stretches
    for (run, ranges) in others.enumerated() {
      var ranks: [Range<Int>] = []
      for range in ranges {
        let isFull = tree.appendRanks(of: range, stretches, to: &ranks, until: count)
        if isFull { break }
      }
      found[self.ranks[run]][numbers[run]] = RankSet(ranks)
    }
    return found
  }

  /// Where, in the order of runs, ranks stop to go up, or down, by one: the end of the stretch of
  /// each run.
  private var stretches: [Int] {
    var ends = [Int](repeating: runs.count, count: runs.count)
    for index in runs.indices.reversed().dropFirst() {
      let step = ranks[index + 1] - ranks[index]
      guard abs(step) <= 1 else {
        ends[index] = index + 1
        continue
      }
      let goesOn = index + 2 < ranks.count && ranks[index + 2] - ranks[index + 1] == step
      ends[index] = goesOn ? ends[index + 1] : index + 2
    }
    return ends
  }

  /// Adds the ranks of some runs, until all are there.
  ///
  /// - Returns: whether they are.
  private func appendRanks(
    of range: Range<Int>, _ stretches: [Int], to list: inout [Range<Int>], until count: Int
  ) -> Bool {
    var index = range.lowerBound
    while index < range.upperBound {
      let end = min(stretches[index], range.upperBound)
      let (first, last) = (ranks[index], ranks[end - 1])
      let added = min(first, last)..<max(first, last) + 1
      list.append(added)
      if added.count == count { return true }
      index = end
    }
    return false
  }
}
