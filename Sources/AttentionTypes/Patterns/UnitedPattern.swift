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
  public var period: Int { patterns.reduce(1) { max($0, $1.period) } }

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
    var isFilled = false
    for pattern in patterns {
      switch pattern.coverage(keys: keys, queries: queries) {
      case .none: continue
      case .all:
        bias.update(repeating: 0)
        return
      case .some: break
      }
      guard isFilled else {
        pattern.fill(&bias, keys: keys, queries: queries, head: head)
        isFilled = true
        continue
      }
      var others = [Float](repeating: 0, count: bias.count)
      var span = others.mutableSpan
      pattern.fill(&span, keys: keys, queries: queries, head: head)
      for element in bias.indices { bias[element] = max(bias[element], others[element]) }
    }
    if !isFilled { bias.update(repeating: -.infinity) }
  }
}
