import AttentionTypes
import Glibc

/// Sums in integers that do not depend on the order of their terms, which are those of one leaf
/// each: see ``ReproducibleRows``.
///
/// Partial results are `[batch, queryHeads, tokens]` rows of outputs, then as many of one row sum.
/// Both are sums of numbers times powers of two, so that there is no maximum to be kept.
enum ReproducibleSums: SumKind {
  static var hasRemainders: Bool { false }
  /// The queries that key gradients are computed from have log₂e.
  static var keyGradientFactor: Double { M_LN2 }

  // MARK: Rows of sums

  static func byteCount(rows: Int, columns: Int) -> Int {
    ReproducibleRows.wordCount(rows: rows, columns: columns) * MemoryLayout<Int64>.stride
  }

  static func add(
    _ count: Int, from first: Int, of others: SumRows, to row: Int, of sums: SumRows
  ) {
    let (target, source) = unsafe (sums.integers, others.integers)
    for index in 0..<count { unsafe target.add(row: first + index, of: source, to: row + index) }
  }

  @unsafe
  static func write(
    _ rows: Range<Int>, of sums: SumRows, times factor: Double,
    to target: UnsafeMutablePointer<Float>
  ) {
    let source = unsafe sums.integers
    for row in rows {
      unsafe source.write(
        row: row, times: factor, to: target + (row - rows.lowerBound) * sums.columns)
    }
  }

  // MARK: Partial results

  static func resultByteCount(rows: Int, columns: Int) -> Int {
    byteCount(rows: rows, columns: columns) + byteCount(rows: rows, columns: 1)
  }

  /// Zeros are rows without terms.
  static func startResults(_ results: ResultRows) {}

  static func merge(_ tokens: Range<Int>, of others: ResultRows, into results: ResultRows) {
    let (outputs, rowSums) = unsafe (results.outputIntegers, results.rowSumIntegers)
    let (otherOutputs, otherRowSums) = unsafe (others.outputIntegers, others.rowSumIntegers)
    let shape = unsafe results.shape
    unsafe shape.forEachRow(tokens: results.tokens, in: tokens) { row, _ in
      unsafe outputs.add(row: row, of: otherOutputs, to: row)
      unsafe rowSums.add(row: row, of: otherRowSums, to: row)
    }
  }

  static func writeLogSumExps(
    _ tokens: Range<Int>, of results: ResultRows, to target: LogSumExpRows
  ) {
    let rowSums = unsafe results.rowSumIntegers
    let shape = unsafe results.shape
    unsafe shape.forEachRow(tokens: results.tokens, in: tokens) { row, _ in
      guard let order = rowSums.order(row: row) else {
        unsafe (target.rounded[row], target.remainders[row]) = (-.infinity, 0)
        return
      }
      let exact = Double(order) * M_LN2 + log(rowSums.units(row: row, column: 0))
      unsafe (target.rounded[row], target.remainders[row]) = split(exact)
    }
  }

  @unsafe
  static func writeOutputs(
    _ tokens: Range<Int>, of results: ResultRows, to target: UnsafeMutablePointer<Float>
  ) {
    let (outputs, rowSums) = unsafe (results.outputIntegers, results.rowSumIntegers)
    let shape = unsafe results.shape
    unsafe shape.forEachRow(tokens: results.tokens, in: tokens) { row, first in
      guard let order = rowSums.order(row: row) else { return }
      let sum = rowSums.units(row: row, column: 0)
      unsafe outputs.write(row: row, times: 1 / sum, order: -order, to: target + first)
    }
  }
}
