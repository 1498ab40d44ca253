public import Tensors

/// Every query sees every key.
public struct FullPattern: AttentionPattern {
  /// Creates the pattern.
  public init() {}

  /// `all`, unless the rectangle is empty.
  public func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
    keys.isEmpty || queries.isEmpty ? .none : .all
  }

  /// Writes zeros.
  public func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
    head: Int
  ) {
    bias.update(repeating: 0)
  }
}
