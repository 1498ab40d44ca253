import Compute

/// A matrix that is somebody else's: where it lies, and how far apart its elements are.
@safe
struct StridedMatrix: @unchecked Sendable {
  let base: UnsafeMutablePointer<Float>
  /// From a row to the next.
  let row: Int
  /// From a column to the next; 1 where rows are read as vectors.
  let column: Int

  @unsafe
  init(_ base: UnsafeMutablePointer<Float>, row: Int, column: Int = 1) {
    unsafe self.base = unsafe base
    self.row = row
    self.column = column
  }

  /// The same with rows for columns.
  var transposed: StridedMatrix { unsafe StridedMatrix(base, row: column, column: row) }

  /// Copies its first rows and columns, which stand side by side.
  func copy(to target: StridedMatrix, rows: Int, columns: Int) {
    unsafe copyRows(
      base, step: row, to: target.base, step: target.row, rows: rows, columns: columns)
  }

  /// Copies its first rows into columns of another, whose rows stand side by side.
  func transpose(into target: StridedMatrix, rows: Int, columns: Int) {
    for place in 0..<rows {
      let source = unsafe base + place * row
      for column in 0..<columns {
        unsafe target.base[column * target.row + place] = source[column]
      }
    }
  }

  /// The part that starts at a row and a column.
  func part(row first: Int, column start: Int = 0) -> StridedMatrix {
    unsafe StridedMatrix(base + first * row + start * column, row: row, column: column)
  }
}
