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

  /// `all` where one pattern shows all, `none` where every one hides all.
  ///
  /// Where several say `some` they may show all together, and the answer is `some` all the same.
  public func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
    var result = Coverage.none
    for pattern in patterns {
      switch pattern.coverage(keys: keys, queries: queries) {
      case .all: return .all
      case .some: result = .some
      case .none: break
      }
    }
    return result
  }

  /// Asks those that show some of the tile, as a rule one.
  public func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, head: Int
  ) {
    patterns.fill(
      &bias, keys: keys, queries: queries, head: head, nothing: -.infinity,
      where: { $0.coverage(keys: keys, queries: queries) != .none }, combine: max)
  }
}
