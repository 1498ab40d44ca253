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

/// `C = A · B`, or `C += A · B`, of small matrices: tiles of 4 × 16 sums stay in registers.
///
/// - Parameters:
///   - a: `[rows, depth]`, with any strides.
///   - b: `[depth, columns]`, its columns side by side.
///   - c: `[rows, columns]`, its columns side by side.
func multiply(
  _ a: StridedMatrix, _ b: StridedMatrix, into c: StridedMatrix, rows: Int, depth: Int,
  columns: Int, adding: Bool = false
) {
  precondition(b.column == 1 && c.column == 1, "rows that are read as vectors")
  var row = 0
  while row + 4 <= rows {
    unsafe tileOfFour(a.part(row: row), b, c.part(row: row), depth, columns, adding)
    row += 4
  }
  while row < rows {
    unsafe tileOfOne(a.part(row: row), b, c.part(row: row), depth, columns, adding)
    row += 1
  }
}

@unsafe @inline(__always)
private func tileOfFour(
  _ a: StridedMatrix, _ b: StridedMatrix, _ c: StridedMatrix, _ depth: Int, _ columns: Int,
  _ adding: Bool
) {
  let (a0, step) = unsafe (a.base, a.column)
  let (a1, a2, a3) = unsafe (a0 + a.row, a0 + 2 * a.row, a0 + 3 * a.row)
  var column = 0
  while column + 16 <= columns {
    var (s00, s01) = (Vector.zero, Vector.zero)
    var (s10, s11) = (Vector.zero, Vector.zero)
    var (s20, s21) = (Vector.zero, Vector.zero)
    var (s30, s31) = (Vector.zero, Vector.zero)
    var source = unsafe UnsafePointer(b.base + column)
    var place = 0
    for _ in 0..<depth {
      let b0 = unsafe Vector(loading: source, at: 0)
      let b1 = unsafe Vector(loading: source, at: 8)
      unsafe source += b.row
      let x0 = unsafe Vector(repeating: a0[place])
      s00.addProduct(x0, b0)
      s01.addProduct(x0, b1)
      let x1 = unsafe Vector(repeating: a1[place])
      s10.addProduct(x1, b0)
      s11.addProduct(x1, b1)
      let x2 = unsafe Vector(repeating: a2[place])
      s20.addProduct(x2, b0)
      s21.addProduct(x2, b1)
      let x3 = unsafe Vector(repeating: a3[place])
      s30.addProduct(x3, b0)
      s31.addProduct(x3, b1)
      place += step
    }
    let target = unsafe c.base + column
    unsafe put(s00, target, adding)
    unsafe put(s01, target + 8, adding)
    unsafe put(s10, target + c.row, adding)
    unsafe put(s11, target + c.row + 8, adding)
    unsafe put(s20, target + 2 * c.row, adding)
    unsafe put(s21, target + 2 * c.row + 8, adding)
    unsafe put(s30, target + 3 * c.row, adding)
    unsafe put(s31, target + 3 * c.row + 8, adding)
    column += 16
  }
  if column < columns { unsafe restOfFour(a, b, c, depth, column..<columns, adding) }
}

/// Some columns of four rows, whose sums do not wait for each other.
@unsafe @inline(__always)
private func restOfFour(
  _ a: StridedMatrix, _ b: StridedMatrix, _ c: StridedMatrix, _ depth: Int, _ columns: Range<Int>,
  _ adding: Bool
) {
  let (a0, step) = unsafe (a.base, a.column)
  let (a1, a2, a3) = unsafe (a0 + a.row, a0 + 2 * a.row, a0 + 3 * a.row)
  var column = columns.lowerBound
  while column + 8 <= columns.upperBound {
    var (s0, s1, s2, s3) = (Vector.zero, Vector.zero, Vector.zero, Vector.zero)
    for index in 0..<depth {
      let b0 = unsafe Vector(loading: b.base + index * b.row, at: column)
      let place = index * step
      unsafe s0.addProduct(Vector(repeating: a0[place]), b0)
      unsafe s1.addProduct(Vector(repeating: a1[place]), b0)
      unsafe s2.addProduct(Vector(repeating: a2[place]), b0)
      unsafe s3.addProduct(Vector(repeating: a3[place]), b0)
    }
    let target = unsafe c.base + column
    unsafe put(s0, target, adding)
    unsafe put(s1, target + c.row, adding)
    unsafe put(s2, target + 2 * c.row, adding)
    unsafe put(s3, target + 3 * c.row, adding)
    column += 8
  }
  while column < columns.upperBound {
    var (s0, s1, s2, s3): (Float, Float, Float, Float) = (0, 0, 0, 0)
    for index in 0..<depth {
      let (x, place) = unsafe (b.base[index * b.row + column], index * step)
      s0 = unsafe s0.addingProduct(a0[place], x)
      s1 = unsafe s1.addingProduct(a1[place], x)
      s2 = unsafe s2.addingProduct(a2[place], x)
      s3 = unsafe s3.addingProduct(a3[place], x)
    }
    for (row, sum) in [s0, s1, s2, s3].enumerated() {
      let target = unsafe c.base + row * c.row + column
      unsafe target.pointee = adding ? target.pointee + sum : sum
    }
    column += 1
  }
}

@unsafe @inline(__always)
private func tileOfOne(
  _ a: StridedMatrix, _ b: StridedMatrix, _ c: StridedMatrix, _ depth: Int, _ columns: Int,
  _ adding: Bool
) {
  unsafe rest(a, b, c, depth, 0..<columns, adding)
}

/// Some columns of one row.
@unsafe
private func rest(
  _ a: StridedMatrix, _ b: StridedMatrix, _ c: StridedMatrix, _ depth: Int, _ columns: Range<Int>,
  _ adding: Bool
) {
  var column = columns.lowerBound
  while column + 8 <= columns.upperBound {
    var sum = Vector.zero
    for index in 0..<depth {
      let x = unsafe Vector(repeating: a.base[index * a.column])
      unsafe sum.addProduct(x, Vector(loading: b.base + index * b.row, at: column))
    }
    unsafe put(sum, c.base + column, adding)
    column += 8
  }
  while column < columns.upperBound {
    var sum: Float = 0
    for index in 0..<depth {
      sum = unsafe sum.addingProduct(a.base[index * a.column], b.base[index * b.row + column])
    }
    unsafe c.base[column] = adding ? c.base[column] + sum : sum
    column += 1
  }
}

@unsafe @inline(__always)
private func put(_ sum: Vector, _ target: UnsafeMutablePointer<Float>, _ adding: Bool) {
  if adding { unsafe sum.add(to: target, at: 0) } else { unsafe sum.store(to: target, at: 0) }
}
