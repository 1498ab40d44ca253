import Attention
import Tensors

/// The work of some families, to be divided among ranks.
///
/// Costs are (query, key) pairs times heads, of one sequence.
struct DilatedWork {
  let families: [DilatedFamily]
  let isCausal: Bool

  /// The cost of a whole family.
  func cost(ofFamily family: Int) -> Int {
    stretches(ofFamily: family).reduce(0) { $0 + cost($1) }
  }

  /// The whole family as tasks, one for its full segments and one for a shorter one at the end.
  private func stretches(ofFamily family: Int) -> [DilatedTask] {
    families[family].stretches.compactMap { segments in
      let rows = families[family].rows(of: segments.lowerBound).count
      return rows == 0 ? nil : task(family, segments, [PositionRange(0..<rows)], rows: rows)
    }
  }

  private func cost(_ task: DilatedTask) -> Int {
    task.pairs(isCausal: isCausal) * families[task.family].queryHeads.count
  }

  private func task(
    _ family: Int, _ segments: Range<Int>, _ queries: [PositionRange], rows: Int
  ) -> DilatedTask {
    DilatedTask(
      family: family, segments: segments, queries: queries, rows: rows, isCausal: isCausal)
  }

  // MARK: By cost

  /// Cuts the list of all segments of some families into parts of equal cost.
  ///
  /// A cut falls between two queries of a segment, wherever the cost is reached: the parts differ by
  /// less than the cost of one query.
  ///
  /// - Complexity: O(families + parts).
  func cut(_ list: some Sequence<Int>, into parts: Int) -> [[DilatedTask]] {
    let stretches = list.flatMap { self.stretches(ofFamily: $0) }
    let total = stretches.reduce(0) { $0 + cost($1) }
    var result = [[DilatedTask]](repeating: [], count: parts)
    var part = 0
    var done = 0
    for stretch in stretches {
      var rest = [stretch]
      while let next = rest.popLast() {
        // What this part and those before it should have cost in the end, without overflow.
        let goal = total / parts * (part + 1) + total % parts * (part + 1) / parts
        let (taken, left) = part == parts - 1 ? (next, []) : take(next, cost: goal - done)
        if let taken {
          result[part].append(taken)
          done += cost(taken)
        }
        // Whole segments may leave something to be taken of the next one.
        if !left.isEmpty, taken.map({ $0.queries != next.queries }) ?? true { part += 1 }
        rest += left.reversed()
      }
    }
    return result
  }

  /// Takes whole segments, or else queries of the first one, until a cost is reached as nearly as
  /// possible.
  ///
  /// - Parameter task: of one consecutive run of queries, which are all rows if there are several
  ///   segments.
  private func take(_ task: DilatedTask, cost goal: Int) -> (
    taken: DilatedTask?, left: [DilatedTask]
  ) {
    if self.cost(task) <= goal { return (task, []) }
    let rows = families[task.family].rows(of: task.segments.lowerBound).count
    func part(_ segments: Range<Int>, _ queries: PositionRange) -> DilatedTask {
      self.task(task.family, segments, [queries], rows: rows)
    }
    let queries = task.queries[0]
    let whole = max(0, goal) / (self.cost(task) / task.segments.count)
    if whole > 0 {
      let cut = task.segments.lowerBound + whole
      return (
        part(task.segments.lowerBound..<cut, queries),
        [part(cut..<task.segments.upperBound, queries)]
      )
    }
    let one = task.segments.lowerBound..<task.segments.lowerBound + 1
    let others = one.upperBound..<task.segments.upperBound
    func cost(ofFirst count: Int) -> Int { self.cost(part(one, queries.prefix(count))) }
    // The least number of queries that reach the goal, or one less if that comes nearer.
    var (count, high) = (0, queries.count)
    while count < high {
      let middle = (count + high) / 2
      if cost(ofFirst: middle) >= goal { high = middle } else { count = middle + 1 }
    }
    if count > 0, goal - cost(ofFirst: count - 1) < cost(ofFirst: count) - goal { count -= 1 }
    let left =
      [
        count < queries.count ? part(one, queries.slice(count..<queries.count)) : nil,
        others.isEmpty ? nil : part(others, queries),
      ].compactMap { $0 }
    return (count > 0 ? part(one, queries.prefix(count)) : nil, left)
  }

  // MARK: By queries

  /// Everything that is to be computed for the queries of a shard.
  ///
  /// - Complexity: O(segments of the shard's tokens).
  func tasks(ofQueriesIn runs: [PositionRange]) -> [DilatedTask] {
    families.indices.flatMap { tasks(ofQueriesIn: runs, family: $0) }
  }

  private func tasks(ofQueriesIn runs: [PositionRange], family index: Int) -> [DilatedTask] {
    let family = families[index]
    let length = family.branch.segmentLength
    let fullSegments = family.tokens / length
    /// Full segments of which the shard has all tokens, as many side by side as there are.
    var whole: [Range<Int>] = []
    /// The queries in other segments.
    var partial: [Int: [PositionRange]] = [:]
    for run in runs {
      guard let first = run.first, let last = run.last else { continue }
      let inside =
        run.isContiguous
        ? (first + length - 1) / length..<max((first + length - 1) / length, (last + 1) / length)
        : 0..<0
      let complete = inside.clamped(to: 0..<fullSegments)
      if !complete.isEmpty { whole.append(complete) }
      for segment in first / length...last / length where !complete.contains(segment) {
        guard let common = family.rows(of: segment).commonIndices(with: run) else { continue }
        partial[segment, default: []].append(common.own)
      }
    }
    return whole.compactMap { segments in
      let rows = family.rows(of: segments.lowerBound).count
      return rows == 0 ? nil : task(index, segments, [PositionRange(0..<rows)], rows: rows)
    }
      + partial.sorted { $0.key < $1.key }.map { segment, queries in
        task(
          index, segment..<segment + 1, queries.sorted { $0.start < $1.start },
          rows: family.rows(of: segment).count)
      }
  }
}
