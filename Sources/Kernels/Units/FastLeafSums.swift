import AttentionTypes
import Glibc
import Tensors

/// Fast sums: the maximum of both, and what rounding takes from their sum beside it.
enum FastLeafSums: LeafSums {
  static var leaf: Int { TileSizes.fastLeaf }

  static func add(
    _ state: LeafState, to results: ResultRows, row: Int, outputRow: Int
  ) {
    guard let outputRemainders = unsafe results.outputRemainders,
      let rowSumRemainders = unsafe results.rowSumRemainders
    else { preconditionFailure("no room for what rounding takes") }
    let shape = unsafe results.shape
    let outputs = unsafe CompensatedSums(sums: results.outputs, remainders: outputRemainders)
    let rowSums = unsafe CompensatedSums(sums: results.rowSums, remainders: rowSumRemainders)
      .from(row)
    let rowMax = unsafe results.rowMax + row
    for index in 0..<state.rows {
      let ownMax = unsafe state.rowMax[index]
      // The row has seen nothing.
      if ownMax == -.infinity { continue }
      let target = unsafe outputs.from(
        (outputRow + index * shape.queryHeads) * shape.valueHeadDim)
      if unsafe rowMax[index] == -.infinity {
        unsafe start(rowMax + index, rowSums.sums + index, target.sums, shape, state, index)
        continue
      }
      let newMax = unsafe max(rowMax[index], ownMax)
      let kept = unsafe exp2(rowMax[index] - newMax)
      let added = exp2(ownMax - newMax)
      unsafe rowMax[index] = newMax
      unsafe (rowSums.sums[index], rowSums.remainders[index]) = adding(
        state.rowSum[index] * added, to: rowSums.sums[index] * kept,
        remainder: rowSums.remainders[index] * kept)
      for panel in 0..<state.valuePanels {
        let first = panel * state.panelWidth
        unsafe target.from(first).add(
          state.outputRow(panel: panel, row: index), times: added, keeping: kept,
          count: min(state.panelWidth, shape.valueHeadDim - first))
      }
    }
  }

  /// Makes what a row has found out its result, where it had seen nothing: what rounding takes is 0
  /// and stays so, in memory that may never be needed.
  @unsafe @inline(__always)
  private static func start(
    _ rowMax: UnsafeMutablePointer<Float>, _ rowSum: UnsafeMutablePointer<Float>,
    _ outputs: UnsafeMutablePointer<Float>, _ shape: AttentionShape, _ state: LeafState, _ row: Int
  ) {
    unsafe rowMax.pointee = state.rowMax[row]
    unsafe rowSum.pointee = state.rowSum[row]
    for panel in 0..<state.valuePanels {
      let first = panel * state.panelWidth
      let (source, target) = unsafe (state.outputRow(panel: panel, row: row), outputs + first)
      let count = min(state.panelWidth, shape.valueHeadDim - first)
      // A panel is a few vectors, too few to call for.
      if count % Vector.width == 0 {
        for index in stride(from: 0, to: count, by: Vector.width) {
          unsafe Vector(loading: source, at: index).store(to: target, at: index)
        }
      } else {
        unsafe target.update(from: source, count: count)
      }
    }
  }
}
