/// Partial results of the queries of a shard, in memory that outlives this value.
@unsafe
package struct ResultRows: @unchecked Sendable {
  /// Rows of outputs.
  package let outputMemory: UnsafeMutableRawPointer
  /// What else there is of a result.
  package let stateMemory: UnsafeMutableRawPointer
  /// As many numbers as there are outputs; nil where none are kept.
  package let outputRemainders: UnsafeMutablePointer<Float>?
  /// As many numbers as there are row sums; likewise.
  package let rowSumRemainders: UnsafeMutablePointer<Float>?
  package let shape: AttentionShape
  package let tokens: Int

  package init(
    outputMemory: UnsafeMutableRawPointer, stateMemory: UnsafeMutableRawPointer,
    outputRemainders: UnsafeMutablePointer<Float>?,
    rowSumRemainders: UnsafeMutablePointer<Float>?, shape: AttentionShape, tokens: Int
  ) {
    unsafe self.outputMemory = outputMemory
    unsafe self.stateMemory = stateMemory
    unsafe self.outputRemainders = outputRemainders
    unsafe self.rowSumRemainders = rowSumRemainders
    unsafe self.shape = shape
    unsafe self.tokens = tokens
  }

  /// Rows of all heads.
  package var count: Int { unsafe shape.batch * tokens * shape.queryHeads }

  // MARK: Fast results

  /// Outputs, not divided by the row sums.
  package var outputs: UnsafeMutablePointer<Float> {
    unsafe outputMemory.assumingMemoryBound(to: Float.self)
  }
  /// Maxima, in base 2.
  package var rowMax: UnsafeMutablePointer<Float> {
    unsafe stateMemory.assumingMemoryBound(to: Float.self)
  }
  package var rowSums: UnsafeMutablePointer<Float> { unsafe rowMax + count }

  // MARK: Reproducible results

  /// `[batch, queryHeads, tokens]` rows of outputs.
  package var outputIntegers: ReproducibleRows {
    unsafe ReproducibleRows(outputMemory, rows: count, columns: shape.valueHeadDim)
  }
  /// As many rows of one row sum.
  package var rowSumIntegers: ReproducibleRows {
    unsafe ReproducibleRows(stateMemory, rows: count, columns: 1)
  }
}
