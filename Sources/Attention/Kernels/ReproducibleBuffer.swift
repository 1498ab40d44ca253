package import Tensors

/// Memory of reproducible sums.
package struct ReproducibleBuffer: ~Copyable {
  private let rowCount: Int
  private let columns: Int
  /// The integers of all rows, then the bins.
  package let words: AlignedBuffer<Int64>

  /// Rows without terms.
  package init(rows: Int, columns: Int) {
    rowCount = rows
    self.columns = columns
    words = AlignedBuffer(zeros: ReproducibleRows.wordCount(rows: rows, columns: columns))
  }

  /// The rows; valid for as long as the buffer lives.
  @unsafe
  package var rows: ReproducibleRows {
    let cells = unsafe words.unsafeBaseAddress
    return unsafe ReproducibleRows(
      cells: cells, bins: cells + ReproducibleRows.cellCount(rows: rowCount, columns: columns),
      columns: columns)
  }
}
