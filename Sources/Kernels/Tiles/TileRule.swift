import AttentionTypes
import Tensors

/// What a score rule has to know of a query tile and a key tile.
struct TileRule {
  let rule: any ScoreRule
  let batch: Int
  /// The query head in the whole problem.
  let head: Int
  let keys: PositionRange
  let queries: PositionRange

  /// Changes scores in place.
  ///
  /// - Parameters:
  ///   - scores: row `r` lies at `r · stride`.
  ///   - keys: which of the keys the columns are.
  ///   - queries: which of the queries the rows are.
  ///   - slopes: takes the derivatives, rows one after the other as wide as a panel; nil if they
  ///     are not wanted.
  @unsafe
  func apply(
    to scores: UnsafeMutablePointer<Float>, stride: Int, keys columns: Range<Int>,
    queries rows: Range<Int>, slopes: UnsafeMutablePointer<Float>? = nil
  ) {
    rule.apply(
      to: unsafe ScoreTile(
        scores: scores, stride: stride, slopes: slopes, slopeStride: TileSizes.panelWidth,
        rows: rows.count, queryStride: queries.stride,
        first: ScorePlace(
          batch: batch, head: head, query: queries.start + rows.lowerBound * queries.stride,
          firstKey: keys.start + columns.lowerBound * keys.stride, keyStride: keys.stride,
          count: columns.count)))
  }
}
