import AttentionTypes
import Tensors

/// Reproducible sums: rows of outputs and row sums times a power of two.
enum ReproducibleLeafSums: LeafSums {
  static var leaf: Int { Accumulation.leaf }

  static func add(
    _ tile: borrowing RowResults, to results: ResultRows, row: Int, outputRow: Int
  ) {
    let (outputs, rowSums) = unsafe (results.outputIntegers, results.rowSumIntegers)
    for index in 0..<tile.rows {
      let exponent = unsafe tile.rowMax.unsafeBaseAddress[index]
      // The row has seen nothing.
      if exponent == -.infinity { continue }
      unsafe rowSums.add(
        tile.rowSum.unsafeBaseAddress + index, panelWidth: TileSizes.panelWidth, panelStride: 0,
        exponent: exponent, to: row + index)
      unsafe outputs.add(
        tile.outputRow(panel: 0, row: index), panelWidth: TileSizes.panelWidth,
        panelStride: tile.capacity * TileSizes.panelWidth, exponent: exponent,
        to: row + index)
    }
  }
}
