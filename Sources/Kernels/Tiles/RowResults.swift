import AttentionTypes
import Tensors

/// What a tile of queries has found out about its rows since they started anew: partial results.
///
/// It is the same whatever products are computed of.
struct RowResults: ~Copyable {
  /// Rows in use.
  var rows = 0
  /// Rows that there is room for.
  let capacity: Int
  let valuePanels: Int
  /// The largest score, rounded up to an integer.
  let rowMax: AlignedBuffer<Float>
  /// The sum of `2^(score − rowMax)`.
  let rowSum: AlignedBuffer<Float>
  /// The same sum of weights as they are multiplied, if they are rounded for that.
  private let roundedSum: AlignedBuffer<Float>
  /// That sum weighted by the values, `[valuePanels][rows][W]`.
  private let outputs: AlignedBuffer<Float>

  init(capacity: Int, valueHeadDim: Int) {
    self.capacity = capacity
    valuePanels = (valueHeadDim + TileSizes.panelWidth - 1) / TileSizes.panelWidth
    rowMax = AlignedBuffer(zeros: capacity)
    rowSum = AlignedBuffer(zeros: capacity)
    roundedSum = AlignedBuffer(zeros: capacity)
    outputs = AlignedBuffer(zeros: valuePanels * capacity * TileSizes.panelWidth)
  }

  /// What the rows have found out; valid for as long as these results are.
  var state: LeafState {
    unsafe LeafState(
      rows: rows, rowMax: rowMax.unsafeBaseAddress, rowSum: rowSum.unsafeBaseAddress,
      outputs: outputs.unsafeBaseAddress, panelWidth: TileSizes.panelWidth,
      panelStride: capacity * TileSizes.panelWidth, valuePanels: valuePanels)
  }

  /// Makes them those of rows that have seen nothing, all but the outputs, which are whatever they
  /// were until they are written.
  func clear() {
    unsafe rowMax.unsafeBaseAddress.update(repeating: -.infinity, count: rows)
    unsafe rowSum.unsafeBaseAddress.update(repeating: 0, count: rows)
    unsafe roundedSum.unsafeBaseAddress.update(repeating: 0, count: rows)
  }

  @unsafe @inline(__always)
  func outputRow(panel: Int, row: Int) -> UnsafeMutablePointer<Float> {
    unsafe outputs.unsafeBaseAddress + (panel * capacity + row) * TileSizes.panelWidth
  }

  /// Brings the outputs of a row to a new maximum.
  @inline(__always)
  func rescale(row: Int, by factor: Vector) {
    unsafe roundedSum.unsafeBaseAddress[row] *= factor[0]
    multiplyOutputs(row: row, by: factor)
  }

  /// Counts weights of a row as they are multiplied.
  @inline(__always)
  func addRoundedWeights(_ sum: Float, row: Int) {
    unsafe roundedSum.unsafeBaseAddress[row] += sum
  }

  /// Takes from the outputs what rounding has given to all weights alike, or taken.
  ///
  /// The outputs are then a mean of the values by the rounded weights, times the exact sum: where
  /// one key has nearly all of the weight, its value but for the last bit.
  func settleRoundedWeights() {
    for row in 0..<rows {
      let (exact, rounded) = unsafe (
        rowSum.unsafeBaseAddress[row], roundedSum.unsafeBaseAddress[row]
      )
      // A row that has seen nothing has neither.
      if rounded != exact { multiplyOutputs(row: row, by: Vector(repeating: exact / rounded)) }
    }
  }

  @inline(__always)
  private func multiplyOutputs(row: Int, by factor: Vector) {
    for panel in 0..<valuePanels {
      let output = unsafe outputRow(panel: panel, row: row)
      unsafe (Vector(loading: output, at: 0) * factor).store(to: output, at: 0)
      unsafe (Vector(loading: output, at: Vector.width) * factor)
        .store(to: output, at: Vector.width)
    }
  }
}
