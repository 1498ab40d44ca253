import AttentionTypes
import Compute
import Glibc

/// Sums in `Float`, in the order in which terms come, with what rounding takes from them beside
/// them while terms are added; where sums of others join, they do plainly.
///
/// Partial results are outputs `[batch, tokens, queryHeads, valueHeadDim]`, not divided by the row
/// sums, then maxima in base 2 and row sums, both `[batch, queryHeads, tokens]`. Maxima are rounded
/// up to integers, so that all factors between results are powers of two, which round nothing.
enum FastSums: SumKind {
  static var hasRemainders: Bool { true }
  static var keyGradientFactor: Double { 1 }

  // MARK: Rows of sums

  static func byteCount(rows: Int, columns: Int) -> Int {
    rows * columns * MemoryLayout<Float>.stride
  }

  static func add(
    _ count: Int, from first: Int, of others: SumRows, to row: Int, of sums: SumRows
  ) {
    let columns = unsafe sums.columns
    let source = unsafe UnsafePointer(others.floats) + first * columns
    let target = unsafe sums.floats + row * columns
    let numbers = count * columns
    var index = 0
    while index + Vector.width <= numbers {
      unsafe Vector(loading: source, at: index).add(to: target, at: index)
      index += Vector.width
    }
    while index < numbers {
      unsafe target[index] += source[index]
      index += 1
    }
  }

  @unsafe
  static func write(
    _ rows: Range<Int>, of sums: SumRows, times factor: Double,
    to target: UnsafeMutablePointer<Float>
  ) {
    let columns = unsafe sums.columns
    let source = unsafe sums.floats + rows.lowerBound * columns
    let factor = Float(factor)
    for index in 0..<rows.count * columns { unsafe target[index] = source[index] * factor }
  }

  // MARK: Partial results

  static func resultByteCount(rows: Int, columns: Int) -> Int {
    rows * (columns + 2) * MemoryLayout<Float>.stride
  }

  static func startResults(_ results: ResultRows) {
    unsafe results.rowMax.update(repeating: -.infinity, count: results.count)
  }

  static func merge(_ tokens: Range<Int>, of others: ResultRows, into results: ResultRows) {
    let shape = unsafe results.shape
    unsafe shape.forEachRow(tokens: results.tokens, in: tokens) { row, first in
      unsafe merge(
        max: others.rowMax[row], sum: others.rowSums[row], outputs: others.outputs + first,
        times: 1, into: results, row: row, first: first)
    }
  }

  /// Merges one row by online softmax.
  ///
  /// Whether a row has seen a key is asked of its sum, which is above 0 then: with maxima of −∞ on
  /// both sides a difference would be NaN.
  ///
  /// - Parameter factor: what the outputs are still to be multiplied by.
  @unsafe
  static func merge(
    max otherMax: Float, sum otherSum: Float, outputs: UnsafePointer<Float>,
    times factor: Float, into results: ResultRows, row: Int, first: Int
  ) {
    if otherSum == 0 { return }
    let (ownMax, ownSum) = unsafe (results.rowMax[row], results.rowSums[row])
    let newMax = ownSum == 0 ? otherMax : max(ownMax, otherMax)
    let ownFactor = ownSum == 0 ? 0 : exp2(ownMax - newMax)
    let otherFactor = exp2(otherMax - newMax)
    unsafe results.rowMax[row] = newMax
    unsafe results.rowSums[row] = ownSum * ownFactor + otherSum * otherFactor
    unsafe combine(
      results.outputs + first, times: ownFactor, with: outputs, times: otherFactor * factor,
      count: results.shape.valueHeadDim)
  }

  /// Leaves the inverse of each row sum in its place, 0 for a row that has seen nothing.
  static func writeLogSumExps(
    _ tokens: Range<Int>, of results: ResultRows, to target: LogSumExpRows
  ) {
    let shape = unsafe results.shape
    unsafe shape.forEachRow(tokens: results.tokens, in: tokens) { row, _ in
      let (inverse, logSumExp) = unsafe finished(results, row: row)
      unsafe (target.rounded[row], target.remainders[row]) = logSumExp
      unsafe results.rowSums[row] = inverse
    }
  }

  @unsafe
  static func writeOutputs(
    _ tokens: Range<Int>, of results: ResultRows, to target: UnsafeMutablePointer<Float>
  ) {
    let shape = unsafe results.shape
    let (rowSums, outputs) = unsafe (results.rowSums, UnsafePointer(results.outputs))
    unsafe shape.forEachRow(tokens: results.tokens, in: tokens) { row, first in
      unsafe multiply(
        outputs + first, by: rowSums[row], to: target + first, count: shape.valueHeadDim)
    }
  }

  /// Divides outputs by their row sums in place, and makes the maxima log-sum-exps, the sums what
  /// rounding took from these.
  static func divide(_ tokens: Range<Int>, of results: ResultRows) {
    let shape = unsafe results.shape
    unsafe shape.forEachRow(tokens: results.tokens, in: tokens) { row, first in
      let (inverse, logSumExp) = unsafe finished(results, row: row)
      let outputs = unsafe results.outputs + first
      unsafe multiply(outputs, by: inverse, to: outputs, count: shape.valueHeadDim)
      unsafe (results.rowMax[row], results.rowSums[row]) = logSumExp
    }
  }

  /// What a row's outputs are to be multiplied by, and its log-sum-exp.
  @unsafe @inline(__always)
  private static func finished(
    _ results: ResultRows, row: Int
  ) -> (inverse: Float, logSumExp: (Float, remainder: Float)) {
    let sum = unsafe Double(results.rowSums[row]) + Double(results.rowSumRemainders?[row] ?? 0)
    if sum == 0 { return (0, (-.infinity, 0)) }
    return unsafe (Float(1 / sum), split(Double(results.rowMax[row]) * M_LN2 + log(sum)))
  }
}

/// `b = a · f`, where `a` and `b` may be the same.
@unsafe
private func multiply(
  _ a: UnsafePointer<Float>, by f: Float, to b: UnsafeMutablePointer<Float>, count: Int
) {
  var index = 0
  while index + Vector.width <= count {
    unsafe (Vector(loading: a, at: index) * f).store(to: b, at: index)
    index += Vector.width
  }
  while index < count {
    unsafe b[index] = a[index] * f
    index += 1
  }
}

/// `a = a · f + b · g`.
@unsafe
private func combine(
  _ a: UnsafeMutablePointer<Float>, times f: Float, with b: UnsafePointer<Float>, times g: Float,
  count: Int
) {
  var index = 0
  while index + Vector.width <= count {
    let own = unsafe Vector(loading: a, at: index) * f
    unsafe own.addingProduct(Vector(loading: b, at: index), Vector(repeating: g))
      .store(to: a, at: index)
    index += Vector.width
  }
  while index < count {
    unsafe a[index] = (a[index] * f).addingProduct(b[index], g)
    index += 1
  }
}
