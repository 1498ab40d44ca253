import Tensors

extension DilatedWork {
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
      let begin = family.branch.segmentCount(tokens: first)
      let inside = run.isContiguous ? begin..<max(begin, (last + 1) / length) : 0..<0
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
