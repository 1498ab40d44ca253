package import Tensors

/// Work that one rank does by itself: some queries of some equally long segments of a family, over
/// all keys that they see there.
package struct DilatedTask: Hashable, Sendable {
  /// The index of the family.
  package let family: Int
  /// Segments, which select equally many rows.
  package let segments: Range<Int>
  /// Which of the rows of each segment are queries, by row and not by position.
  package let queries: [PositionRange]
  /// How many of the rows of each segment are keys: those from the first on.
  package let keyCount: Int

  /// Takes queries and the keys that they see.
  ///
  /// - Parameters:
  ///   - rows: that each of the segments selects.
  init(
    family: Int, segments: Range<Int>, queries: [PositionRange], rows: Int, isCausal: Bool
  ) {
    self.family = family
    self.segments = segments
    self.queries = queries.filter { !$0.isEmpty }
    let last = self.queries.lazy.compactMap(\.last).max()
    keyCount = last.map { isCausal ? $0 + 1 : rows } ?? 0
  }

  /// The same for some of the segments.
  init(_ task: DilatedTask, segments: Range<Int>) {
    family = task.family
    self.segments = segments
    queries = task.queries
    keyCount = task.keyCount
  }

  /// Queries in each segment.
  var queryCount: Int { queries.reduce(0) { $0 + $1.count } }

  /// The (query, key) pairs of one head in all segments.
  func pairs(isCausal: Bool) -> Int {
    let perSegment = queries.reduce(0) { sum, run in
      // Row i sees i + 1 keys.
      sum
        + (isCausal
          ? run.count * (run.start + 1) + run.stride * (run.count * (run.count - 1) / 2)
          : run.count * keyCount)
    }
    return segments.count * perSegment
  }
}
