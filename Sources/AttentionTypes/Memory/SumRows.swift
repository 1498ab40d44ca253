/// Rows of sums, in memory that outlives this value.
@unsafe
package struct SumRows: @unchecked Sendable {
  package let memory: UnsafeMutableRawPointer
  /// As many numbers as there are sums; nil where none are kept.
  package var remainders: UnsafeMutablePointer<Float>?
  package let count: Int
  package let columns: Int

  package init(memory: UnsafeMutableRawPointer, count: Int, columns: Int) {
    unsafe self.memory = memory
    unsafe remainders = nil
    unsafe self.count = count
    unsafe self.columns = columns
  }

  /// The rows of fast sums, one after the other.
  package var floats: UnsafeMutablePointer<Float> {
    unsafe memory.assumingMemoryBound(to: Float.self)
  }

  /// The rows of reproducible sums.
  package var integers: ReproducibleRows {
    unsafe ReproducibleRows(memory, rows: count, columns: columns)
  }
}
