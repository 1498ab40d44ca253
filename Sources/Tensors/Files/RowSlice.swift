/// Some rows of a tensor: the unit in which ranks read their tokens from files and write them.
///
/// A tensor is seen as `[outer, rows, inner]`: the dimensions before `axis`, `axis` itself, and the
/// dimensions after it. The slice is the rows at positions `rows`, `inner` elements each, one after
/// the other, at one index of `outer`. For `[batch, tokens, heads, headDim]` that is axis 1 and
/// `outerIndex` = b; for `[batch, heads, tokens]` it is axis 2 and `outerIndex` = b · heads + h.
public struct RowSlice: Hashable, Sendable {
  /// The positions along `axis`.
  public let rows: PositionRange

  /// The dimension that `rows` counts.
  public let axis: Int

  /// The row-major index of the dimensions before `axis`.
  public let outerIndex: Int

  /// Creates the slice of `rows` along `axis` at `outerIndex` of the dimensions before it.
  public init(_ rows: PositionRange, axis: Int = 1, outerIndex: Int = 0) {
    self.rows = rows
    self.axis = axis
    self.outerIndex = outerIndex
  }

  /// How many elements the slice has in a tensor of the given shape.
  ///
  /// - Precondition: The slice lies within the shape.
  public func elementCount(in shape: Shape) -> Int {
    elements(in: shape).count
  }

  /// Where the slice lies among the elements of a tensor of the given shape.
  ///
  /// - Precondition: The slice lies within the shape.
  func elements(in shape: Shape) -> RowElements {
    precondition(axis >= 0 && axis < shape.rank, "Shape \(shape) has no axis \(axis)")
    let outerCount = shape.dimensions[..<axis].reduce(1, *)
    precondition(
      outerIndex >= 0 && outerIndex < outerCount || rows.isEmpty,
      "Outer index \(outerIndex) is outside of shape \(shape) before axis \(axis)")
    precondition(
      rows.isEmpty || rows.start >= 0 && rows[rows.count - 1] < shape[axis],
      "Rows \(rows) are outside of axis \(axis) of shape \(shape)")
    let inner = shape.stride(axis)
    return RowElements(
      start: rows.isEmpty ? 0 : (outerIndex * shape[axis] + rows.start) * inner,
      rowLength: inner, rowStride: inner * rows.stride, rowCount: rows.count)
  }
}

/// The row-major places of a slice's elements: `rowCount` rows of `rowLength` neighbours.
struct RowElements {
  /// The place of the first element.
  let start: Int

  /// How many elements a row has.
  let rowLength: Int

  /// From the first element of a row to that of the next one.
  let rowStride: Int

  let rowCount: Int

  var count: Int { rowCount * rowLength }

  /// Whether all elements are neighbours.
  var isContiguous: Bool { rowStride == rowLength || rowCount <= 1 }

  /// The place of the slice's element number `index`.
  func place(of index: Int) -> Int {
    let (row, column) = index.quotientAndRemainder(dividingBy: rowLength)
    return start + row * rowStride + column
  }
}
