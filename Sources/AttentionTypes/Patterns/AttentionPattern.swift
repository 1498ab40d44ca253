public import Tensors

/// How much of a rectangle of scores a pattern lets through.
public enum Coverage: Hashable, Sendable {
  /// No query of the rectangle sees any key of it: nothing is computed, nothing needs to travel.
  case none
  /// Every query sees every key: no mask is asked for.
  case all
  /// Anything else. A pattern that is unsure says `some`; that is correct everywhere, only slower.
  case some
}

/// What a query may see, and what is added to its score.
///
/// A pattern answers two questions, each asked once a tile and never once an element: how much of
/// a rectangle is visible, and, where that is partial, what to add to each score in it. The same
/// ``coverage(keys:queries:)`` decides which tiles a kernel computes, which blocks a rank computes,
/// and which blocks are sent at all. Positions are global, so a pattern knows nothing of ranks.
public protocol AttentionPattern: Sendable {
  /// Whether ``fill(_:keys:queries:head:)`` adds finite biases, so that it must be asked on wholly
  /// visible tiles too. The default is `false`: a pure mask.
  var hasBias: Bool { get }

  /// How far apart positions are that see alike: rectangles whose strides are multiples of it are
  /// covered as sharply as neighbours are by a mask without gaps.
  ///
  /// Shards are cut into runs of this stride, so that a mask with regular gaps is computed without
  /// them. The default is 1: no gaps.
  var period: Int { get }

  /// How much of `queries × keys` is visible, for every head.
  ///
  /// The answer must hold for the rectangle as a whole: `none` and `all` are promises.
  ///
  /// - Complexity: should be O(1); it is asked once a tile.
  func coverage(keys: PositionRange, queries: PositionRange) -> Coverage

  /// Writes what is added to the scores of one tile: 0, a bias in natural-log units, or −∞ where
  /// the query does not see the key.
  ///
  /// - Parameters:
  ///   - bias: `[queries.count, keys.count]`, row-major; every element must be written.
  ///   - keys: global positions of the columns.
  ///   - queries: global positions of the rows.
  ///   - head: the query head.
  func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, head: Int)
}

extension AttentionPattern {
  /// A pure mask: ``fill(_:keys:queries:head:)`` is asked only where coverage is partial.
  public var hasBias: Bool { false }

  /// Neighbours see alike.
  public var period: Int { 1 }
}
