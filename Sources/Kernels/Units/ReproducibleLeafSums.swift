import AttentionTypes
import Tensors

/// Reproducible sums: rows of outputs and row sums times a power of two.
enum ReproducibleLeafSums: LeafSums {
  static var leaf: Int { Accumulation.leaf }

  static func add(
    _ state: LeafState, to results: ResultRows, row: Int, outputRow: Int
  ) {
    let (outputs, rowSums) = unsafe (results.outputIntegers, results.rowSumIntegers)
    for index in 0..<state.rows {
      let exponent = unsafe state.rowMax[index]
      // The row has seen nothing.
      if exponent == -.infinity { continue }
      unsafe rowSums.add(
        state.rowSum + index, panelWidth: state.panelWidth, panelStride: 0,
        exponent: exponent, to: row + index)
      unsafe outputs.add(
        state.outputRow(panel: 0, row: index), panelWidth: state.panelWidth,
        panelStride: state.panelStride, exponent: exponent,
        to: row + index)
    }
  }
}
