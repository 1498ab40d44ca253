public import Tensors

/// Several patterns laid over each other: a query sees a key if all of them let it, and what they
/// add to its score is added up.
public struct IntersectedPattern: AttentionPattern {
  private let patterns: [any AttentionPattern]

  /// - Parameter patterns: none of them is full attention.
  public init(_ patterns: [any AttentionPattern]) {
    self.patterns = patterns
  }

  /// Whether one of the patterns adds to scores.
  public var hasBias: Bool { patterns.contains { $0.hasBias } }

  /// The longest of the patterns' periods.
  public var period: Int { patterns.period }

  /// Those of all the patterns.
  public var singularQueries: [Range<Int>] { patterns.singularQueries }

  /// That of all.
  public var byteCount: Int { patterns.reduce(0) { $0 + $1.byteCount } }

  /// Whether one of the patterns does.
  public var dependsOnBatch: Bool { patterns.contains { $0.dependsOnBatch } }

  /// Whether one of the patterns does.
  public var dependsOnHead: Bool { patterns.contains { $0.dependsOnHead } }

  /// `none` where one pattern hides all, `all` where every one shows all.
  ///
  /// Where several say `some` they may hide all together, and the answer is `some` all the same.
  public func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
    combined { $0.coverage(keys: keys, queries: queries) }
  }

  /// The same for one sequence and head.
  public func coverage(
    keys: PositionRange, queries: PositionRange, batch: Int, head: Int
  ) -> Coverage {
    combined { $0.coverage(keys: keys, queries: queries, batch: batch, head: head) }
  }

  @inline(__always)
  private func combined(_ coverage: (any AttentionPattern) -> Coverage) -> Coverage {
    var result = Coverage.all
    for pattern in patterns {
      switch coverage(pattern) {
      case .none: return .none
      case .some: result = .some
      case .all: break
      }
    }
    return result
  }

  /// Those that all of them show.
  public func visibleKeys(
    of query: Int, in keys: PositionRange, batch: Int, head: Int
  ) -> Range<Int>? {
    var common = 0..<keys.count
    for pattern in patterns {
      guard
        let seen = pattern.visibleKeys(of: query, in: keys, batch: batch, head: head)
      else { return nil }
      common = common.clamped(to: seen)
    }
    return common
  }

  /// One pattern after the other.
  public func narrow(
    _ seen: inout MutableSpan<Range<Int>>, to keys: PositionRange, of queries: PositionRange,
    batch: Int, head: Int
  ) -> Bool {
    for pattern in patterns {
      guard pattern.narrow(&seen, to: keys, of: queries, batch: batch, head: head) else {
        return false
      }
    }
    return true
  }

  /// Asks those that have something to say of the tile, as a rule one.
  public func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
    head: Int
  ) {
    patterns.fill(
      &bias, keys: keys, queries: queries, batch: batch, head: head, nothing: 0,
      where: {
        $0.hasBias
          || $0.coverage(keys: keys, queries: queries, batch: batch, head: head) != .all
      }, combine: +)
  }
}
