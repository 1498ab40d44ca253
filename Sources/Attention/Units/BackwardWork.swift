import Tensors

/// What the backward pass of one block against all queries of a rank is made of, however its sums
/// are divided into units.
///
/// It holds plain addresses: whoever creates it keeps the tensors alive until the pass has run.
@safe
struct BackwardWork: @unchecked Sendable {
  let shape: AttentionShape
  let pattern: any AttentionPattern
  let scoreRule: (any ScoreRule)?
  /// scale · log₂e.
  let queryScale: Float
  /// Queries of the shard, and their positions.
  let tokens: Int
  let queryRuns: [PositionRange]
  /// Keys of the block, and their positions.
  let keyCount: Int
  let keyRuns: [PositionRange]
  /// `[run][batch][kvHead]`.
  let heads: [PackedHead]
  let rows: BackwardRows
  let part: BlockPart

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
  func attend(
    _ tile: inout BackwardTile, keys: PositionRange, queries: PositionRange, batch: Int,
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
        ? TileMask(pattern: pattern, keys: keys, queries: queries, head: number) : nil,
      rule: scoreRule.map {
        TileRule(rule: $0, batch: batch, head: number, keys: keys, queries: queries)
      })
  }
}
