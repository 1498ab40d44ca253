public import Tensors

extension AttentionPattern {
  /// The number of visible (query, key) pairs of one head of one sequence: what useful work is
  /// counted in.
  ///
  /// Rectangles of partial coverage are halved along their longer side until they are wholly
  /// visible, wholly hidden, or one pair.
  ///
  /// - Complexity: O(queries + keys) coverage questions for a mask with one diagonal.
  public func visiblePairs(
    keys: PositionRange, queries: PositionRange, batch: Int = 0, head: Int = 0
  ) -> Int {
    func pairs(_ keys: PositionRange, _ queries: PositionRange) -> Int {
      visiblePairs(keys: keys, queries: queries, batch: batch, head: head)
    }
    switch coverage(keys: keys, queries: queries, batch: batch, head: head) {
    case .none: return 0
    case .all: return keys.count * queries.count
    case .some: break
    }
    if keys.count == 1, queries.count == 1 {
      return isVisible(key: keys, query: queries, batch: batch, head: head) ? 1 : 0
    }
    if let classes = classes(keys) {
      return classes.reduce(0) { $0 + pairs($1, queries) }
    }
    if let classes = classes(queries) {
      return classes.reduce(0) { $0 + pairs(keys, $1) }
    }
    if keys.count >= queries.count {
      let half = keys.count / 2
      return pairs(keys.slice(0..<half), queries) + pairs(keys.slice(half..<keys.count), queries)
    }
    let half = queries.count / 2
    return pairs(keys, queries.slice(0..<half)) + pairs(keys, queries.slice(half..<queries.count))
  }

  /// The visible pairs of one head of one sequence between two shards.
  public func visiblePairs(
    keys: [PositionRange], queries: [PositionRange], batch: Int = 0, head: Int = 0
  ) -> Int {
    queries.reduce(0) { sum, query in
      keys.reduce(sum) {
        $0 + visiblePairs(keys: $1, queries: query, batch: batch, head: head)
      }
    }
  }

  /// The visible pairs of all heads and sequences between two shards; counted once where they all
  /// see alike.
  public func visiblePairs(
    keys: [PositionRange], queries: [PositionRange], shape: AttentionShape
  ) -> Int {
    let batches = dependsOnBatch ? shape.batch : min(1, shape.batch)
    let heads = dependsOnHead ? shape.queryHeads : min(1, shape.queryHeads)
    var counted = 0
    for batch in 0..<batches {
      for head in 0..<heads {
        counted += visiblePairs(
          keys: keys, queries: queries, batch: batch, head: shape.firstQueryHead + head)
      }
    }
    return counted * (dependsOnBatch ? 1 : shape.batch) * (dependsOnHead ? 1 : shape.queryHeads)
  }

  /// Whether any query of one shard sees any key of another, in any sequence and for any head.
  public func reaches(keys: [PositionRange], queries: [PositionRange]) -> Bool {
    queries.contains { query in
      keys.contains { coverage(keys: $0, queries: query) != .none }
    }
  }

  /// Whether any of some queries sees any key of a shard in one sequence for one head.
  public func reaches(
    keys: [PositionRange], queries: PositionRange, batch: Int, head: Int
  ) -> Bool {
    keys.contains {
      coverage(keys: $0, queries: queries, batch: batch, head: head) != .none
    }
  }

  /// Positions that see alike, for a mask with regular gaps; nil if these do, or are few.
  func classes(_ range: PositionRange) -> [PositionRange]? {
    guard range.stride % period != 0, range.count > period else { return nil }
    return range.strided(by: period)
  }

  /// Settles a single pair for a pattern that calls even that rectangle partial.
  private func isVisible(
    key: PositionRange, query: PositionRange, batch: Int, head: Int
  ) -> Bool {
    var bias: [Float] = [0]
    var span = bias.mutableSpan
    fill(&span, keys: key, queries: query, batch: batch, head: head)
    return bias[0] > -.infinity
  }
}
