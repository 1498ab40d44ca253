public import Tensors

extension AttentionPattern {
  /// The number of visible (query, key) pairs of one head: what useful work is counted in.
  ///
  /// Rectangles of partial coverage are halved along their longer side until they are wholly
  /// visible, wholly hidden, or one pair.
  ///
  /// - Complexity: O(queries + keys) coverage questions for a mask with one diagonal.
  public func visiblePairs(keys: PositionRange, queries: PositionRange) -> Int {
    switch coverage(keys: keys, queries: queries) {
    case .none: return 0
    case .all: return keys.count * queries.count
    case .some: break
    }
    if keys.count == 1, queries.count == 1 {
      return isVisible(key: keys, query: queries) ? 1 : 0
    }
    if let classes = classes(keys) {
      return classes.reduce(0) { $0 + visiblePairs(keys: $1, queries: queries) }
    }
    if let classes = classes(queries) {
      return classes.reduce(0) { $0 + visiblePairs(keys: keys, queries: $1) }
    }
    if keys.count >= queries.count {
      let half = keys.count / 2
      return visiblePairs(keys: keys.slice(0..<half), queries: queries)
        + visiblePairs(keys: keys.slice(half..<keys.count), queries: queries)
    }
    let half = queries.count / 2
    return visiblePairs(keys: keys, queries: queries.slice(0..<half))
      + visiblePairs(keys: keys, queries: queries.slice(half..<queries.count))
  }

  /// The visible pairs of one head between two shards.
  public func visiblePairs(keys: [PositionRange], queries: [PositionRange]) -> Int {
    queries.reduce(0) { sum, query in
      keys.reduce(sum) { $0 + visiblePairs(keys: $1, queries: query) }
    }
  }

  /// Whether any query of one shard sees any key of another.
  public func reaches(keys: [PositionRange], queries: [PositionRange]) -> Bool {
    queries.contains { query in
      keys.contains { coverage(keys: $0, queries: query) != .none }
    }
  }

  /// Positions that see alike, for a mask with regular gaps; nil if these do, or are few.
  private func classes(_ range: PositionRange) -> [PositionRange]? {
    guard range.stride % period != 0, range.count > period else { return nil }
    return range.strided(by: period)
  }

  /// Settles a single pair for a pattern that calls even that rectangle partial.
  private func isVisible(key: PositionRange, query: PositionRange) -> Bool {
    var bias: [Float] = [0]
    var span = bias.mutableSpan
    fill(&span, keys: key, queries: query, head: 0)
    return bias[0] > -.infinity
  }
}
