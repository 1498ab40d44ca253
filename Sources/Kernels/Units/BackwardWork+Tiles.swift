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
    let number = shape.firstQueryHead + head
    let knows =
      coverage == .some && !pattern.hasBias
      && tile.ranges.ask(pattern, keys: keys, from: 0, queries: queries, batch: batch, head: number)
    // Rows that see none of the keys are not packed.
    let part = knows ? tile.ranges.dropEmptyGroups() : 0..<queries.count
    let queries = queries.slice(part)
    let rule = scoreRule.map {
      TileRule(rule: $0, batch: batch, head: number, keys: keys, queries: queries)
    }
    unsafe tile.load(
      rows: part.count, from: part.lowerBound,
      rows.from(
        batch: batch, head: head, token: firstToken + part.lowerBound, of: tokens, shape: shape),
      shape: shape, queryScale: queryScale)
    if knows {
      unsafe tile.attendToRanges(rule: rule)
      return
    }
    let isMasked = coverage == .some || pattern.hasBias
    unsafe tile.attend(
      mask: isMasked
        ? TileMask(
          pattern: pattern, keys: keys, queries: queries, batch: batch, head: number) : nil,
      rule: rule)
  }
}
