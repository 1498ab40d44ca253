import AttentionTypes
import Tensors

/// What both ways to divide the backward pass into units have in common.
extension BackwardWork {
  /// The packed keys and values of a run.
  @unsafe
  func packedHead(run: Int, batch: Int, kvHead: Int) -> PackedHead {
    unsafe heads[(run * shape.batch + batch) * shape.kvHeads + kvHead]
  }

  /// Computes what some queries and the keys of a tile do to each other.
  ///
  /// - Parameters:
  ///   - head: of this shape.
  ///   - firstToken: the first query, as a local index in the shard.
  ///   - coverage: of the queries and keys, not `none`.
  @inline(__always)
  func attend<Element: Factor>(
    _ tile: inout BackwardTile<Element>, keys: PositionRange, queries: PositionRange, batch: Int,
    head: Int, firstToken: Int, coverage: Coverage
  ) {
    unsafe tile.load(
      rows: queries.count,
      rows.from(batch: batch, head: head, token: firstToken, of: tokens, shape: shape),
      shape: shape, queryScale: queryScale)
    let number = shape.firstQueryHead + head
    let isMasked = coverage == .some || pattern.hasBias
    unsafe tile.attend(
      mask: isMasked
        ? TileMask(
          pattern: pattern, keys: keys, queries: queries, batch: batch, head: number) : nil,
      rule: scoreRule.map {
        TileRule(rule: $0, batch: batch, head: number, keys: keys, queries: queries)
      })
  }
}
