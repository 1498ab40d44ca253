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
/// a rectangle is visible, and, where that is partial, what to add to each score in it. How much
/// is visible is asked in two ways. What travels carries all sequences of a batch and all heads, so
/// ``coverage(keys:queries:)``, which holds for all of them, decides which blocks are sent and
/// which a rank computes with. A kernel asks about the sequence and the head that it computes,
/// ``coverage(keys:queries:batch:head:)``: what is hidden there is not computed. Positions are
/// global, so a pattern knows nothing of ranks.
public protocol AttentionPattern: Sendable {
  /// Whether ``fill(_:keys:queries:batch:head:)`` adds finite biases, so that it must be asked on
  /// wholly visible tiles too. The default is `false`: a pure mask.
  var hasBias: Bool { get }

  /// How far apart positions are that see alike: rectangles whose strides are multiples of it are
  /// covered as sharply as neighbours are by a mask without gaps.
  ///
  /// Shards are cut into runs of this stride, so that a mask with regular gaps is computed without
  /// them. The default is 1: no gaps.
  var period: Int { get }

  /// Whether sequences of a batch may see differently, so that pairs are counted for each.
  var dependsOnBatch: Bool { get }

  /// Whether query heads may see differently, so that pairs are counted for each.
  var dependsOnHead: Bool { get }

  /// The memory of what the pattern knows of each token, in bytes, on every rank.
  var byteCount: Int { get }

  /// Queries that see much more, or less, than those next to them, by their indices, ascending.
  ///
  /// Who counts pairs by asking some queries asks these besides. The default is none.
  var singularQueries: [Range<Int>] { get }

  /// How much of `queries × keys` is visible in every sequence of the batch and for every head.
  ///
  /// The answer must hold for the rectangle as a whole, whatever the sequence and the head: `none`
  /// and `all` are promises.
  ///
  /// - Complexity: should be O(1); it is asked of runs of shards, again and again in halves.
  func coverage(keys: PositionRange, queries: PositionRange) -> Coverage

  /// How much of `queries × keys` is visible in one sequence for one query head.
  ///
  /// It may be sharper than ``coverage(keys:queries:)``, which is what it is by default, and never
  /// contradicts it.
  ///
  /// - Parameters:
  ///   - batch: the sequence.
  ///   - head: the query head.
  /// - Complexity: should be O(1); it is asked once a tile.
  func coverage(
    keys: PositionRange, queries: PositionRange, batch: Int, head: Int
  ) -> Coverage

  /// Which of some keys one query sees, if these are neighbours among them: a pure mask that knows
  /// is not asked to write each element of a tile.
  ///
  /// - Returns: indices of `keys`; nil if they are no neighbours, or if the pattern does not know,
  ///   which is the default. Where ``hasBias`` it is not asked.
  /// - Complexity: should be O(1); it is asked for each row of a register tile on an edge.
  func visibleKeys(
    of query: Int, in keys: PositionRange, batch: Int, head: Int
  ) -> Range<Int>?

  /// Takes from what each of some queries may see of some keys what it does not see: that question
  /// for many queries at once, by default one after the other.
  ///
  /// - Parameters:
  ///   - seen: for each query, which of the keys it may see, as indices of `keys`; it may be
  ///     longer.
  ///   - keys: as there.
  ///   - queries: as many as are asked about.
  /// - Returns: whether ``visibleKeys(of:in:batch:head:)`` has an answer for each of them; if not,
  ///   what `seen` holds means nothing.
  /// - Complexity: should be O(queries); it is asked for each tile of queries and leaf of keys.
  func narrow(
    _ seen: inout MutableSpan<Range<Int>>, to keys: PositionRange, of queries: PositionRange,
    batch: Int, head: Int
  ) -> Bool

  /// Writes what is added to the scores of one tile: 0, a bias in natural-log units, or −∞ where
  /// the query does not see the key.
  ///
  /// - Parameters:
  ///   - bias: `[queries.count, keys.count]`, row-major; every element must be written.
  ///   - keys: global positions of the columns.
  ///   - queries: global positions of the rows.
  ///   - batch: the sequence.
  ///   - head: the query head.
  func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
    head: Int)
}

extension AttentionPattern {
  /// A pure mask: ``fill(_:keys:queries:batch:head:)`` is asked only where coverage is partial.
  public var hasBias: Bool { false }

  /// Neighbours see alike.
  public var period: Int { 1 }

  /// Each query sees about as much as its neighbours.
  public var singularQueries: [Range<Int>] { [] }

  /// Nothing.
  public var byteCount: Int { 0 }

  /// All sequences see alike.
  public var dependsOnBatch: Bool { false }

  /// All heads see alike.
  public var dependsOnHead: Bool { false }

  /// It does not know.
  public func visibleKeys(
    of query: Int, in keys: PositionRange, batch: Int, head: Int
  ) -> Range<Int>? { nil }

  /// One query after the other.
  public func narrow(
    _ seen: inout MutableSpan<Range<Int>>, to keys: PositionRange, of queries: PositionRange,
    batch: Int, head: Int
  ) -> Bool {
    for index in 0..<queries.count {
      guard let own = visibleKeys(of: queries[index], in: keys, batch: batch, head: head) else {
        return false
      }
      seen[index] = seen[index].clamped(to: own)
    }
    return true
  }

  /// What holds for all sequences and heads.
  public func coverage(
    keys: PositionRange, queries: PositionRange, batch: Int, head: Int
  ) -> Coverage {
    coverage(keys: keys, queries: queries)
  }
}
