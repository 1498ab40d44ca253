public import Tensors

/// Every query sees the keys from `first` on.
///
/// For keys before it that are attended to apart from the others.
public struct LaterKeysPattern: AttentionPattern {
  /// The first key that is seen.
  public let first: Int

  /// Creates the pattern.
  public init(from first: Int) {
    self.first = first
  }

  /// Compares the ends of the keys.
  public func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
    guard let earliest = keys.first, let latest = keys.last, !queries.isEmpty, latest >= first
    else { return .none }
    return earliest >= first ? .all : .some
  }

  /// Writes 0 for keys that are seen and −∞ for others.
  public func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
    head: Int
  ) {
    var element = 0
    for _ in queries {
      for key in keys {
        bias[element] = key >= first ? 0 : -.infinity
        element += 1
      }
    }
  }
}
