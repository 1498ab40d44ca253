package import Attention
import Sharding

/// Ranks in rows and columns: those of a row share the heads out among them, those of a column have
/// the same heads and pass blocks round a ring.
///
/// The ranks of a row are neighbours, so that where a row fits a node nothing but the ring leaves
/// it.
///
/// Source: Fang and Zhao 2024, USP: A Unified Sequence Parallelism Approach for Long Context
/// Generative AI; with one row Jacobs et al. 2023, DeepSpeed Ulysses.
package struct HeadGrid: Hashable, Sendable {
  /// Ranks that share the heads.
  package let columns: Int
  /// Ranks of a ring.
  package let rows: Int

  /// A grid of `rows · columns` ranks.
  package init(columns: Int, rows: Int) {
    precondition(columns >= 1 && rows >= 1, "an empty grid")
    self.columns = columns
    self.rows = rows
  }

  /// Where a rank stands.
  package func place(of rank: Int) -> (row: Int, column: Int) {
    (rank / columns, rank % columns)
  }

  /// The ranks of a row.
  package func members(ofRow row: Int) -> Range<Int> { row * columns..<(row + 1) * columns }

  /// The heads of each column.
  package func shares(of shape: AttentionShape) -> [HeadShare] {
    let (size, rest) = shape.queryHeads.quotientAndRemainder(dividingBy: columns)
    return (0..<columns).map { column in
      let first = column * size + min(column, rest)
      return HeadShare(first..<first + size + (column < rest ? 1 : 0), of: shape)
    }
  }
}

/// The heads of a column: query heads, shared out evenly, and the KV heads that they read.
///
/// A KV head that is read by query heads of two columns is in both. Where there are fewer query
/// heads than columns, the last columns have none.
package struct HeadShare: Hashable, Sendable {
  /// Query heads of the whole problem.
  package let queryHeads: Range<Int>
  /// KV heads of the whole problem.
  package let kvHeads: Range<Int>
  /// What is left of the whole problem's shape; nil if nothing is.
  package let shape: AttentionShape?

  init(_ heads: Range<Int>, of whole: AttentionShape) {
    queryHeads = heads
    kvHeads = heads.isEmpty ? 0..<0 : whole.kvHeads(of: heads)
    shape = heads.isEmpty ? nil : whole.restricted(to: heads)
  }

  /// The bytes of a block of these heads.
  func blockBytes(keys: Int, wire: WireType) -> Int {
    shape.map { KeyValueBlock.byteCount(keys: keys, shape: $0, elementType: wire) } ?? 0
  }

  /// The bytes of the gradients of a block of these heads.
  func gradientBytes(keys: Int, _ accumulation: Accumulation) -> Int {
    shape.map { KeyValueGradient.byteCount(keys: keys, shape: $0, accumulation: accumulation) } ?? 0
  }
}

extension ShardedAttention {
  /// What the ranks of a column compute together, each with the tokens of its row; nil if the
  /// column has no heads.
  func part(column: Int, of grid: HeadGrid) -> ShardedAttention? {
    guard let shape = grid.shares(of: shape)[column].shape else { return nil }
    return ShardedAttention(
      shape: shape, queries: queries.grouped(by: grid.columns),
      keys: keys.grouped(by: grid.columns), pattern: pattern, scoreRule: scoreRule,
      scale: scale, wire: wire, accumulation: accumulation, arithmetic: arithmetic)
  }

  /// The (query, key) pairs that a rank computes, over all its heads and sequences.
  ///
  /// - Precondition: the route can serve these ranks.
  public func computedPairs(rank: Int, route: Route) -> Int {
    guard let grid = try? route.grid(ranks: ranks), grid.columns > 1 else {
      return visiblePairs(rank: rank)
    }
    let (row, column) = grid.place(of: rank)
    return part(column: column, of: grid)?.visiblePairs(rank: row) ?? 0
  }
}
