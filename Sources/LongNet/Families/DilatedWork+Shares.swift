import Tensors

extension DilatedWork {
  /// Cuts the list of all segments of some families into shares of equal cost.
  ///
  /// A cut falls between two queries of a segment, wherever the cost is reached: the shares differ
  /// by less than the cost of one query.
  ///
  /// - Complexity: O(families + shares).
  func cut(_ list: some Sequence<Int>, into shares: Int) -> [[DilatedTask]] {
    let stretches = list.flatMap { self.stretches(ofFamily: $0) }
    let total = stretches.reduce(0) { $0 + cost($1) }
    var result = [[DilatedTask]](repeating: [], count: shares)
    var share = 0
    var done = 0
    for stretch in stretches {
      var rest = [stretch]
      while let next = rest.popLast() {
        // What this share and those before it should have cost in the end, without overflow.
        let goal = total / shares * (share + 1) + total % shares * (share + 1) / shares
        let (taken, left) = share == shares - 1 ? (next, []) : take(next, cost: goal - done)
        if let taken {
          result[share].append(taken)
          done += cost(taken)
        }
        // Whole segments may leave something to be taken of the next one.
        if !left.isEmpty, taken.map({ $0.queries != next.queries }) ?? true { share += 1 }
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
    func piece(_ segments: Range<Int>, _ queries: PositionRange) -> DilatedTask {
      self.task(task.family, segments, [queries], rows: rows)
    }
    let queries = task.queries[0]
    let whole = max(0, goal) / (self.cost(task) / task.segments.count)
    if whole > 0 {
      let cut = task.segments.lowerBound + whole
      return (
        piece(task.segments.lowerBound..<cut, queries),
        [piece(cut..<task.segments.upperBound, queries)]
      )
    }
    let one = task.segments.lowerBound..<task.segments.lowerBound + 1
    let others = one.upperBound..<task.segments.upperBound
    func cost(ofFirst count: Int) -> Int { self.cost(piece(one, queries.prefix(count))) }
    // The least number of queries that reach the goal, or one less if that comes nearer.
    var (count, high) = (0, queries.count)
    while count < high {
      let middle = (count + high) / 2
      if cost(ofFirst: middle) >= goal { high = middle } else { count = middle + 1 }
    }
    if count > 0, goal - cost(ofFirst: count - 1) < cost(ofFirst: count) - goal { count -= 1 }
    let left =
      [
        count < queries.count ? piece(one, queries.slice(count..<queries.count)) : nil,
        others.isEmpty ? nil : piece(others, queries),
      ].compactMap { $0 }
    return (count > 0 ? piece(one, queries.prefix(count)) : nil, left)
  }
}
