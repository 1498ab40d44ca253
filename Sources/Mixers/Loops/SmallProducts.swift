import CInstructions
import Compute

/// `C = A · B`, or `C += A · B`, of small matrices.
///
/// Tiles of 6 × 16 sums stay in registers: a processor that begins two multiply–adds a cycle, each
/// of which takes four, never waits for one of twelve. Sixteen columns of B, side by side, stay in
/// the first cache while all rows of A pass.
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
  if a.column == 1, a.row > depth, rows >= leastRowsOfPanel {
    // Rows that lie apart are read once, and line by line: see ``copyRows``.
    var scratch = Scratch(count: rowsSideBySide * depth, parts: 1)
    let part = unsafe StridedMatrix(scratch.take(rowsSideBySide * depth), row: depth)
    for first in stride(from: 0, to: rows, by: rowsSideBySide) {
      let count = min(rowsSideBySide, rows - first)
      a.part(row: first).copy(to: part, rows: count, columns: depth)
      multiply(
        part, b, into: c.part(row: first), rows: count, depth: depth, columns: columns,
        adding: adding)
    }
    return
  }
  var scratch = Scratch(count: 16 * depth, parts: 1)
  let panel = unsafe StridedMatrix(scratch.take(16 * depth), row: 16)
  for column in stride(from: 0, to: columns, by: 16) {
    let (source, width) = (b.part(row: 0, column: column), min(16, columns - column))
    // Too few rows are not worth the copy, and past the last column nothing may be read.
    let isPacked = width < 16 || (rows >= leastRowsOfPanel && b.row > 16)
    if isPacked {
      source.copy(to: panel, rows: depth, columns: width)
      if width < 16, column > 0 { clear(panel, depth, width..<16) }
    }
    let tiles = ProductTiles(
      a: a, b: isPacked ? panel : source, depth: depth, adding: adding,
      asksAhead: column == 0 && a.column == 1)
    tiles.multiply(into: c.part(row: 0, column: column), rows: rows, columns: width)
  }
}

/// Rows from which on a panel of B is copied.
private let leastRowsOfPanel = 24

/// Rows of A that are copied at a time.
private let rowsSideBySide = 66

private func clear(_ panel: StridedMatrix, _ rows: Int, _ columns: Range<Int>) {
  for row in 0..<rows {
    for column in columns { unsafe panel.base[row * panel.row + column] = 0 }
  }
}

/// Products with sixteen columns, or with eight if there are no more.
@safe
private struct ProductTiles {
  let a: StridedMatrix
  /// `[depth, 16]`.
  let b: StridedMatrix
  let depth: Int
  let adding: Bool
  /// Whether rows of A are met for the first time, and those of the next tile are asked for: what
  /// begins anew every six rows is not foreseen.
  let asksAhead: Bool

  private static var height: Int { 6 }

  /// Up to six rows of A; those that are not there are the last one again.
  @safe
  private struct Rows {
    let base: UnsafePointer<Float>
    let offsets: (Int, Int, Int, Int, Int)

    @unsafe @inline(__always)
    init(_ a: StridedMatrix, count: Int) {
      unsafe base = UnsafePointer(a.base)
      let (row, last) = (a.row, count - 1)
      offsets = (
        min(1, last) * row, min(2, last) * row, min(3, last) * row, min(4, last) * row,
        min(5, last) * row
      )
    }
  }

  /// The sums of six rows, eight columns each.
  private typealias Six = (Vector, Vector, Vector, Vector, Vector, Vector)

  @inline(__always)
  func multiply(into c: StridedMatrix, rows: Int, columns: Int) {
    for first in stride(from: 0, to: rows, by: Self.height) {
      if asksAhead {
        askForRows(min(first + Self.height, rows)..<min(first + 2 * Self.height, rows))
      }
      let (a, c, count) = (a.part(row: first), c.part(row: first), min(Self.height, rows - first))
      if count == 1 {
        unsafe one(a, c, columns)
      } else if columns > 8 {
        let (left, right) = unsafe sixteen(Rows(a, count: count))
        unsafe put(left, c, count, 8)
        unsafe put(right, c.part(row: 0, column: 8), count, columns - 8)
      } else {
        let sums = unsafe eight(Rows(a, count: count))
        unsafe put(sums, c, count, columns)
      }
    }
  }

  @inline(__always)
  private func askForRows(_ rows: Range<Int>) {
    for row in rows {
      for column in stride(from: 0, to: depth, by: 16) {
        unsafe gyre_prefetch_near(a.base + row * a.row + column)
      }
    }
  }

  @unsafe @inline(__always)
  private func sixteen(_ rows: Rows) -> (Six, Six) {
    var (s00, s01, s10, s11) = (Vector.zero, Vector.zero, Vector.zero, Vector.zero)
    var (s20, s21, s30, s31) = (Vector.zero, Vector.zero, Vector.zero, Vector.zero)
    var (s40, s41, s50, s51) = (Vector.zero, Vector.zero, Vector.zero, Vector.zero)
    var (a, b) = unsafe (rows.base, UnsafePointer(b.base))
    let (o1, o2, o3, o4, o5) = rows.offsets
    let (step, row) = (self.a.column, self.b.row)
    for _ in 0..<depth {
      let (b0, b1) = unsafe (Vector(loading: b, at: 0), Vector(loading: b, at: 8))
      unsafe add(a[0], a[0], b0, b1, &s00, &s01)
      unsafe add(a[o1], a[o1], b0, b1, &s10, &s11)
      unsafe add(a[o2], a[o2], b0, b1, &s20, &s21)
      unsafe add(a[o3], a[o3], b0, b1, &s30, &s31)
      unsafe add(a[o4], a[o4], b0, b1, &s40, &s41)
      unsafe add(a[o5], a[o5], b0, b1, &s50, &s51)
      unsafe a += step
      unsafe b += row
    }
    return ((s00, s10, s20, s30, s40, s50), (s01, s11, s21, s31, s41, s51))
  }

  /// Even and odd terms by themselves, so that there are twelve sums again.
  @unsafe @inline(__always)
  private func eight(_ rows: Rows) -> Six {
    var (s00, s01, s10, s11) = (Vector.zero, Vector.zero, Vector.zero, Vector.zero)
    var (s20, s21, s30, s31) = (Vector.zero, Vector.zero, Vector.zero, Vector.zero)
    var (s40, s41, s50, s51) = (Vector.zero, Vector.zero, Vector.zero, Vector.zero)
    var (a, b) = unsafe (rows.base, UnsafePointer(b.base))
    let (o1, o2, o3, o4, o5) = rows.offsets
    let (step, row) = (self.a.column, self.b.row)
    for place in stride(from: 0, to: depth, by: 2) {
      // Of an odd number the last has no other: it is taken once more, times 0.
      let isLast = place + 1 == depth
      let next = isLast ? 0 : step
      let b0 = unsafe Vector(loading: b, at: 0)
      let b1 = unsafe isLast ? Vector.zero : Vector(loading: b, at: row)
      unsafe add(a[0], a[next], b0, b1, &s00, &s01)
      unsafe add(a[o1], a[o1 + next], b0, b1, &s10, &s11)
      unsafe add(a[o2], a[o2 + next], b0, b1, &s20, &s21)
      unsafe add(a[o3], a[o3 + next], b0, b1, &s30, &s31)
      unsafe add(a[o4], a[o4 + next], b0, b1, &s40, &s41)
      unsafe add(a[o5], a[o5 + next], b0, b1, &s50, &s51)
      unsafe a += 2 * step
      unsafe b += 2 * row
    }
    return (s00 + s01, s10 + s11, s20 + s21, s30 + s31, s40 + s41, s50 + s51)
  }

  /// One row.
  @unsafe @inline(__always)
  private func one(_ a: StridedMatrix, _ c: StridedMatrix, _ columns: Int) {
    var (s0, s1) = (Vector.zero, Vector.zero)
    for index in 0..<depth {
      let (x, row) = unsafe (a.base[index * a.column], b.base + index * b.row)
      unsafe add(x, x, Vector(loading: row, at: 0), Vector(loading: row, at: 8), &s0, &s1)
    }
    unsafe put(s0, c.base, min(8, columns))
    if columns > 8 { unsafe put(s1, c.base + 8, columns - 8) }
  }

  @inline(__always)
  private func add(
    _ a0: Float, _ a1: Float, _ b0: Vector, _ b1: Vector, _ s0: inout Vector, _ s1: inout Vector
  ) {
    s0.addProduct(Vector(repeating: a0), b0)
    s1.addProduct(Vector(repeating: a1), b1)
  }

  @unsafe @inline(__always)
  private func put(_ sums: Six, _ c: StridedMatrix, _ count: Int, _ columns: Int) {
    unsafe put(sums.0, c.base, columns)
    if count > 1 { unsafe put(sums.1, c.base + c.row, columns) }
    if count > 2 { unsafe put(sums.2, c.base + 2 * c.row, columns) }
    if count > 3 { unsafe put(sums.3, c.base + 3 * c.row, columns) }
    if count > 4 { unsafe put(sums.4, c.base + 4 * c.row, columns) }
    if count > 5 { unsafe put(sums.5, c.base + 5 * c.row, columns) }
  }

  @unsafe @inline(__always)
  private func put(_ sum: Vector, _ target: UnsafeMutablePointer<Float>, _ columns: Int) {
    if columns >= 8 {
      if adding { unsafe sum.add(to: target, at: 0) } else { unsafe sum.store(to: target, at: 0) }
      return
    }
    for column in 0..<columns {
      unsafe target[column] = adding ? target[column] + sum[column] : sum[column]
    }
  }
}
