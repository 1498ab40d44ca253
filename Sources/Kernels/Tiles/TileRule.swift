import AttentionTypes
import Tensors

/// What a score rule has to know of a query tile and a key tile; lent, never copied, as a
/// ``TileMask`` is.
struct TileRule: ~Copyable {
  let rule: any ScoreRule
  let batch: Int
  /// The query head in the whole problem.
  let head: Int
  let keys: PositionRange
  let queries: PositionRange

  /// Whether its derivatives are 1.
  var isShift: Bool { rule.isShift }

  /// Whether it takes the gradients of scores.
  var takesGradients: Bool { rule.takesGradients }

  /// Hands the gradients of scores over, of the rows and columns that are changed.
  @unsafe
  func takeGradients(
    _ gradients: UnsafeMutablePointer<Float>, stride: Int, keys columns: Range<Int>,
    queries rows: Range<Int>
  ) {
    rule.takeGradients(
      unsafe tile(gradients, stride: stride, keys: columns, queries: rows, slopes: nil))
  }

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
      to: unsafe tile(scores, stride: stride, keys: columns, queries: rows, slopes: slopes))
  }

  @unsafe @inline(__always)
  private func tile(
    _ scores: UnsafeMutablePointer<Float>, stride: Int, keys columns: Range<Int>,
    queries rows: Range<Int>, slopes: UnsafeMutablePointer<Float>?
  ) -> ScoreTile {
    unsafe ScoreTile(
      scores: scores, stride: stride, slopes: slopes, slopeStride: TileSizes.panelWidth,
      rows: rows.count, queryStride: queries.stride,
      first: ScorePlace(
        batch: batch, head: head, query: queries.start + rows.lowerBound * queries.stride,
        firstKey: keys.start + columns.lowerBound * keys.stride, keyStride: keys.stride,
        count: columns.count))
  }
}
