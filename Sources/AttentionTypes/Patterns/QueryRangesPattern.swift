public import Tensors

/// Some queries see every key, and others none.
///
/// For queries that are attended to apart from others.
public struct QueryRangesPattern: AttentionPattern {
  /// The queries that see, by their indices: ascending, without overlap.
  public let ranges: [Range<Int>]

  /// Creates the pattern.
  ///
  /// - Parameter ranges: the queries that see, by their indices, in any order.
  public init(_ ranges: [Range<Int>]) {
    self.ranges = GlobalPattern.merged(ranges)
  }

  /// All of them, where queries beside them see nothing.
  public var singularQueries: [Range<Int>] { ranges }

  /// Compares the ends of the queries; sharp where these are neighbours.
  public func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
    guard let first = queries.first, let last = queries.last, !keys.isEmpty else { return .none }
    let index = firstRange(endingAfter: first)
    guard index < ranges.count, ranges[index].lowerBound <= last else { return .none }
    return ranges[index].contains(first) && ranges[index].contains(last) ? .all : .some
  }

  /// All keys, or none.
  public func visibleKeys(
    of query: Int, in keys: PositionRange, batch: Int, head: Int
  ) -> Range<Int>? { sees(query) ? 0..<keys.count : 0..<0 }

  /// Writes 0 in the rows of queries that see and −∞ in others.
  public func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
    head: Int
  ) {
    for (row, query) in queries.enumerated() {
      let number: Float = sees(query) ? 0 : -.infinity
      for column in 0..<keys.count { bias[row * keys.count + column] = number }
    }
  }

  private func sees(_ query: Int) -> Bool {
    let index = firstRange(endingAfter: query)
    return index < ranges.count && ranges[index].contains(query)
  }

  private func firstRange(endingAfter query: Int) -> Int {
    ranges.partitioningIndex { $0.upperBound > query }
  }
}
