import Tensors

/// What the rows of a tile have found out about one leaf of keys, `(rowMax, rowSum, output)` each,
/// in memory that outlives this value.
@unsafe
struct LeafState {
  private(set) var rows: Int
  /// Rounded up to integers; −∞ of a row that has seen nothing.
  private(set) var rowMax: UnsafeMutablePointer<Float>
  private(set) var rowSum: UnsafeMutablePointer<Float>
  /// `[valuePanels][rows][W]`, panels `panelStride` floats apart.
  private(set) var outputs: UnsafeMutablePointer<Float>
  let panelStride: Int
  let valuePanels: Int

  /// Takes the parts of a state as they lie.
  init(
    rows: Int, rowMax: UnsafeMutablePointer<Float>, rowSum: UnsafeMutablePointer<Float>,
    outputs: UnsafeMutablePointer<Float>, panelStride: Int, valuePanels: Int
  ) {
    self.rows = rows
    unsafe self.rowMax = rowMax
    unsafe self.rowSum = rowSum
    unsafe self.outputs = outputs
    self.panelStride = panelStride
    self.valuePanels = valuePanels
  }

  /// The floats of a state in one piece of memory.
  static func floatCount(rows: Int, valuePanels: Int) -> Int {
    rows * (2 + valuePanels * TileSizes.panelWidth)
  }

  /// A state in one piece of memory.
  init(_ memory: UnsafeMutablePointer<Float>, rows: Int, valuePanels: Int) {
    unsafe self.init(
      rows: rows, rowMax: memory, rowSum: memory + rows, outputs: memory + 2 * rows,
      panelStride: rows * TileSizes.panelWidth, valuePanels: valuePanels)
  }

  /// The output of a row in a panel.
  @inline(__always)
  func outputRow(panel: Int, row: Int) -> UnsafeMutablePointer<Float> {
    unsafe outputs + panel * panelStride + row * TileSizes.panelWidth
  }

  /// Some of the rows.
  func slice(_ part: Range<Int>) -> LeafState {
    var slice = unsafe self
    unsafe slice.rows = part.count
    unsafe slice.rowMax += part.lowerBound
    unsafe slice.rowSum += part.lowerBound
    unsafe slice.outputs += part.lowerBound * TileSizes.panelWidth
    return unsafe slice
  }

  /// Copies the state to another of as many rows.
  func copy(to other: LeafState) {
    unsafe other.rowMax.update(from: rowMax, count: rows)
    unsafe other.rowSum.update(from: rowSum, count: rows)
    for panel in 0..<valuePanels {
      unsafe other.outputRow(panel: panel, row: 0)
        .update(from: outputRow(panel: panel, row: 0), count: rows * TileSizes.panelWidth)
    }
  }
}
