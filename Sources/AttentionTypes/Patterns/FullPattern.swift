public import Tensors

/// Every query sees every key.
public struct FullPattern: AttentionPattern {
  /// Creates the pattern.
  public init() {}

  /// `all`, unless the rectangle is empty.
  public func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
    keys.isEmpty || queries.isEmpty ? .none : .all
  }

  /// All.
  public func visibleKeys(
    of query: Int, in keys: PositionRange, batch: Int, head: Int
  ) -> Range<Int>? { 0..<keys.count }

  /// Writes zeros.
  public func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
    head: Int
  ) {
    bias.update(repeating: 0)
  }
}
