public import Tensors

/// Several masks, of which one is enough: a query sees a key if any of them lets it.
public struct UnitedPattern: AttentionPattern {
  private let patterns: [any AttentionPattern]

  /// - Parameter patterns: masks alone, which add nothing to what they show.
  public init(_ patterns: [any AttentionPattern]) {
    precondition(patterns.allSatisfy { !$0.hasBias }, "what one pattern adds another may not")
    self.patterns = patterns
  }

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

  /// `all` where one pattern shows all, `none` where every one hides all.
  ///
  /// Where several say `some` they may show all together, and the answer is `some` all the same.
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
    var result = Coverage.none
    for pattern in patterns {
      switch coverage(pattern) {
      case .all: return .all
      case .some: result = .some
      case .none: break
      }
    }
    return result
  }

  /// Those that any of them shows, if they touch each other.
  public func visibleKeys(
    of query: Int, in keys: PositionRange, batch: Int, head: Int
  ) -> Range<Int>? {
    var joined = 0..<0
    for pattern in patterns {
      guard
        let seen = pattern.visibleKeys(of: query, in: keys, batch: batch, head: head)
      else { return nil }
      if seen.isEmpty { continue }
      if joined.isEmpty {
        joined = seen
      } else if seen.lowerBound <= joined.upperBound, joined.lowerBound <= seen.upperBound {
        joined =
          min(seen.lowerBound, joined.lowerBound)..<max(seen.upperBound, joined.upperBound)
      } else {
        return nil
      }
    }
    return joined
  }

  /// Asks those that show some of the tile, as a rule one.
  public func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
    head: Int
  ) {
    patterns.fill(
      &bias, keys: keys, queries: queries, batch: batch, head: head, nothing: -.infinity,
      where: {
        $0.coverage(keys: keys, queries: queries, batch: batch, head: head) != .none
      }, combine: max)
  }
}
