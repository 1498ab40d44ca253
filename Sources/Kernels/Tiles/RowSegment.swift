import Tensors

/// Rows of one query head among few.
struct RowSegment {
  /// The query head in the shard.
  let head: Int
  /// Its first row, as a local index in the shard.
  let firstToken: Int
  let positions: PositionRange
  /// Its first row in the tile.
  let firstRow: Int

  /// Its rows in the tile.
  var rows: Range<Int> { firstRow..<firstRow + positions.count }
}
