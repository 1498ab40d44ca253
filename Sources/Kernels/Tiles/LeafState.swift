import Tensors

/// What the rows of a tile have found out about one leaf of keys, `(rowMax, rowSum, output)` each,
/// in memory that outlives this value.
@safe
struct LeafState: @unchecked Sendable {
  private(set) var rows: Int
  /// Rounded up to integers; −∞ of a row that has seen nothing.
  private(set) var rowMax: UnsafeMutablePointer<Float>
  private(set) var rowSum: UnsafeMutablePointer<Float>
  /// `[valuePanels][rows][panelWidth]`, panels `panelStride` floats apart.
  private(set) var outputs: UnsafeMutablePointer<Float>
  let panelWidth: Int
  let panelStride: Int
  let valuePanels: Int

  /// Takes the parts of a state as they lie.
  init(
    rows: Int, rowMax: UnsafeMutablePointer<Float>, rowSum: UnsafeMutablePointer<Float>,
    outputs: UnsafeMutablePointer<Float>, panelWidth: Int, panelStride: Int, valuePanels: Int
  ) {
    self.rows = rows
    unsafe self.rowMax = rowMax
    unsafe self.rowSum = rowSum
    unsafe self.outputs = outputs
    self.panelWidth = panelWidth
    self.panelStride = panelStride
    self.valuePanels = valuePanels
  }

  /// The floats of the state in one piece of memory.
  var floatCount: Int { rows * (2 + valuePanels * panelWidth) }

  /// A state like this one in a piece of memory.
  func like(in memory: UnsafeMutablePointer<Float>) -> LeafState {
    unsafe LeafState(
      rows: rows, rowMax: memory, rowSum: memory + rows, outputs: memory + 2 * rows,
      panelWidth: panelWidth, panelStride: rows * panelWidth, valuePanels: valuePanels)
  }

  /// The output of a row in a panel.
  @inline(__always)
  func outputRow(panel: Int, row: Int) -> UnsafeMutablePointer<Float> {
    unsafe outputs + panel * panelStride + row * panelWidth
  }

  /// Some of the rows.
  func slice(_ part: Range<Int>) -> LeafState {
    var slice = self
    slice.rows = part.count
    unsafe slice.rowMax += part.lowerBound
    unsafe slice.rowSum += part.lowerBound
    unsafe slice.outputs += part.lowerBound * panelWidth
    return slice
  }

  /// Copies the state to another of as many rows.
  func copy(to other: LeafState) {
    unsafe other.rowMax.update(from: rowMax, count: rows)
    unsafe other.rowSum.update(from: rowSum, count: rows)
    for panel in 0..<valuePanels {
      unsafe other.outputRow(panel: panel, row: 0)
        .update(from: outputRow(panel: panel, row: 0), count: rows * panelWidth)
    }
  }
}
