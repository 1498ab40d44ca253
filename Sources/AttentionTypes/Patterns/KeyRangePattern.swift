public import Tensors

/// Every query sees the keys of a range.
///
/// For keys that are attended to apart from others.
public struct KeyRangePattern: AttentionPattern {
  /// The keys that are seen.
  public let range: Range<Int>

  /// Creates the pattern.
  public init(_ range: Range<Int>) {
    self.range = range
  }

  /// Compares the ends of the keys.
  public func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
    guard let first = keys.first, let last = keys.last, !queries.isEmpty,
      first < range.upperBound, last >= range.lowerBound
    else { return .none }
    return range.contains(first) && range.contains(last) ? .all : .some
  }

  /// Writes 0 for keys that are seen and −∞ for others.
  public func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
    head: Int
  ) {
    var element = 0
    for _ in queries {
      for key in keys {
        bias[element] = range.contains(key) ? 0 : -.infinity
        element += 1
      }
    }
  }
}
