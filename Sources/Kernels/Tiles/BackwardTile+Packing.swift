import AttentionTypes
import Tensors

/// The rows of a tile of queries in the forms that its products want.
extension BackwardTile {
  /// Copies rows to `[panels of W columns][steps of rows][W]`, or its transposed form, and, where
  /// factors are not shared, to `[panels of rowSteps][rows][rowSteps]`, filled up with zeros.
  @unsafe
  func pack(
    _ source: UnsafePointer<Float>, stride: Int, columns: Int, factor: Float,
    to panels: borrowing AlignedBuffer<Element>, _ rowPanels: borrowing AlignedBuffer<Element>
  ) {
    if Self.isTransposed {
      unsafe packTransposed(source, stride: stride, columns: columns, to: panels)
    } else {
      unsafe packPanels(source, stride: stride, columns: columns, factor: factor, to: panels)
    }
    if !Self.sharesFactors {
      unsafe packRows(source, stride: stride, columns: columns, factor: factor, to: rowPanels)
    }
  }

  @unsafe
  private func packPanels(
    _ source: UnsafePointer<Float>, stride: Int, columns: Int, factor: Float,
    to panels: borrowing AlignedBuffer<Element>
  ) {
    let scale = Vector(repeating: factor)
    let (depth, width) = (Element.depth, Vector.width)
    let maxSteps = Element.steps(of: Element.backwardQueries)
    /// Where the factors of a step and of a vector of columns go.
    func place(_ step: Int, _ first: Int) -> UnsafeMutablePointer<Element> {
      unsafe panels.unsafeBaseAddress + first / Self.width * Self.width * maxSteps
        + first % Self.width + step * Self.width
    }
    // Steps and vectors that are all there ask nothing. Row after row: what lies a row apart falls
    // into few sets of the first-level cache.
    let (whole, wholeColumns) = (rows / depth, columns / width * width)
    for step in 0..<whole {
      let number = unsafe source + step * depth * stride
      for ahead in RowsAhead.distance..<RowsAhead.distance + depth {
        unsafe RowsAhead.ask(for: number + ahead * stride, columns: columns)
      }
      for first in Swift.stride(from: 0, to: wholeColumns, by: width) {
        unsafe Element.store(
          Element.lanes(of: number + first, stride: stride, count: depth, scale),
          to: place(step, first), at: 0)
      }
    }
    for first in Swift.stride(from: 0, to: roundedUp(columns), by: width) {
      let count = min(width, columns - first)
      for step in (count == width ? whole : 0)..<groups * Self.height / depth {
        let row = step * depth
        let place = unsafe place(step, first)
        if count == width {
          let number = unsafe source + row * stride + first
          let lanes = unsafe Element.lanes(of: number, stride: stride, count: rows - row, scale)
          unsafe Element.store(lanes, to: place, at: 0)
        } else {
          for column in 0..<width {
            unsafe place[column] =
              column < count && row < rows
              ? Element.factor(
                of: source + row * stride + first + column, stride: stride,
                count: min(depth, rows - row)
              ) { _ in factor } : .zero
          }
        }
      }
    }
  }

  /// Where factors lie in runs: sixteen steps of sixteen columns at a time, made as vectors of
  /// columns and turned.
  @unsafe
  private func packTransposed(
    _ source: UnsafePointer<Float>, stride: Int, columns: Int,
    to groups: borrowing AlignedBuffer<Element>
  ) {
    let (depth, width, run) = (Element.depth, Vector.width, Element.stepRun)
    let maxSteps = Element.steps(of: Element.backwardQueries)
    let one = Vector(repeating: 1)
    for first in Swift.stride(from: 0, to: roundedUp(columns), by: width) {
      let group =
        unsafe groups.unsafeBaseAddress + first / Self.height * Self.height * maxSteps
        + first % Self.height * run
      let count = min(width, columns - first)
      for step in Swift.stride(from: 0, to: Element.steps(of: rows), by: run) {
        let place = unsafe group + step * Self.height
        if count == width, (step + run) * depth <= rows {
          unsafe Element.turn(to: place) { index in
            unsafe Element.lanes(
              of: source + (step + index) * depth * stride + first, stride: stride, count: depth,
              one)
          }
          continue
        }
        for column in 0..<width {
          for index in 0..<run {
            let row = (step + index) * depth
            unsafe place[column * run + index] =
              column < count && row < rows
              ? Element.factor(
                of: source + row * stride + first + column, stride: stride,
                count: min(depth, rows - row)
              ) { _ in 1 } : .zero
          }
        }
      }
    }
  }

  @unsafe
  private func packRows(
    _ source: UnsafePointer<Float>, stride: Int, columns: Int, factor: Float,
    to rowPanels: borrowing AlignedBuffer<Element>
  ) {
    let scale = Vector(repeating: factor)
    let (depth, width) = (Element.depth, Vector.width)
    let wide = depth * width
    /// Where the factors of a row and of the columns from `first` on go.
    func place(_ row: Int, _ first: Int) -> UnsafeMutablePointer<Element> {
      unsafe rowPanels.unsafeBaseAddress + first / depth * Element.backwardQueries + row * width
    }
    for row in 0..<rows {
      for first in Swift.stride(from: 0, to: columns, by: wide) {
        let from = unsafe source + row * stride + first
        let place = unsafe place(row, first)
        if first + wide <= columns {
          unsafe Element.store(
            (Vector(loading: from, at: 0) * scale, Vector(loading: from, at: width) * scale),
            to: place)
          continue
        }
        for step in 0..<width {
          let column = first + step * depth
          unsafe place[step] =
            column < columns
            ? Element.factor(
              of: from + step * depth, stride: 1, count: min(depth, columns - column)
            ) { _ in factor } : .zero
        }
      }
    }
    for row in rows..<max(rows, groups * Self.height) {
      for first in Swift.stride(from: 0, to: columns, by: wide) {
        unsafe place(row, first).update(repeating: .zero, count: width)
      }
    }
  }
}
