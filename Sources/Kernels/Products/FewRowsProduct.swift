import Compute

/// Products of a few rows with weights that are widened in registers: each byte of them is read
/// once, and memory is the limit.
///
/// A thread takes some rows of weights at a time. One row of A meets two of them at once, more rows
/// are taken four at a time: in either case there are enough sums that do not wait for each other.
struct FewRowsProduct: ThreadedPass {
  /// Bytes of weights of a unit, about.
  private static var unitBytes: Int { 1 << 14 }

  private let work: WeightProduct
  /// For each factor, rows of weights of a unit, and the number of its first unit.
  private let stretches: [(outputs: Int, first: Int)]
  let unitCount: Int

  init(_ work: WeightProduct) {
    self.work = work
    var first = 0
    stretches = work.factors.map { factor in
      let rowBytes = work.depth / factor.type.blockLength * factor.type.blockBytes
      let outputs = max(2, Self.unitBytes / max(1, rowBytes) / 2 * 2)
      defer { first += (factor.outputs + outputs - 1) / outputs }
      return (outputs, first)
    }
    unitCount = first
  }

  func run(_ units: ThreadTeam.Units, poll: (_ work: Int) -> Void) {
    while let unit = units.next() {
      guard let number = stretches.lastIndex(where: { $0.first <= unit }) else { return }
      let (factor, stretch) = (work.factors[number], stretches[number])
      let first = (unit - stretch.first) * stretch.outputs
      let outputs = first..<min(first + stretch.outputs, factor.outputs)
      factor.type.visit(FewRowsStretch(work: work, factor: factor, outputs: outputs))
      poll(outputs.count * work.depth * work.rows)
    }
  }
}

/// Some rows of weights, and all rows of A.
private struct FewRowsStretch: WeightVisitor {
  let work: WeightProduct
  let factor: WeightProduct.Factor
  let outputs: Range<Int>

  func visit<Form: StoredWeights>(_ form: Form.Type) {
    if work.rows == 1 {
      for output in stride(from: outputs.lowerBound, to: outputs.upperBound, by: 2) {
        unsafe oneRow(form, output, min(output + 1, outputs.upperBound - 1))
      }
    } else {
      for output in outputs {
        for row in stride(from: 0, to: work.rows, by: 4) { unsafe fourRows(form, output, row) }
      }
    }
  }

  /// How far ahead memory is asked for: rows are too short, and pages too small, for the processor
  /// to foresee what is read next.
  @inline(__always)
  private static var aheadBytes: Int { 4096 }

  /// One row of A, two of weights, which may be the same.
  @unsafe @inline(__always)
  private func oneRow<Form: StoredWeights>(_ form: Form.Type, _ one: Int, _ two: Int) {
    let first = unsafe WeightRow<Form>(one, of: factor.weights, depth: work.depth)
    let second = unsafe WeightRow<Form>(two, of: factor.weights, depth: work.depth)
    var (a, b) = (SIMD16<Float>(), SIMD16<Float>())
    var (c, d) = (SIMD16<Float>(), SIMD16<Float>())
    var x = unsafe UnsafeRawPointer(work.a)
    for unit in unsafe 0..<first.units {
      let (left, right) = unsafe (
        x.loadUnaligned(as: SIMD16<Float>.self),
        x.loadUnaligned(fromByteOffset: 64, as: SIMD16<Float>.self)
      )
      unsafe first.ask(unit, ahead: Self.aheadBytes)
      unsafe second.ask(unit, ahead: Self.aheadBytes)
      let (one, two) = unsafe (first[unit], second[unit])
      a = a.addingProduct(one.first, left)
      b = b.addingProduct(one.second, right)
      c = c.addingProduct(two.first, left)
      d = d.addingProduct(two.second, right)
      unsafe x += 4 * WeightUnit.length
    }
    var sums = ((a + b).laneSum, (c + d).laneSum)
    if unsafe first.rest > 0 {
      unsafe sums.0 += rest(first, row: 0)
      unsafe sums.1 += rest(second, row: 0)
    }
    unsafe put(sums.0, row: 0, output: one)
    if two != one { unsafe put(sums.1, row: 0, output: two) }
  }

  /// Up to four rows of A, one of weights.
  @unsafe @inline(__always)
  private func fourRows<Form: StoredWeights>(_ form: Form.Type, _ output: Int, _ first: Int) {
    let weights = unsafe WeightRow<Form>(output, of: factor.weights, depth: work.depth)
    let last = work.rows - 1
    // Rows that are not there are the last one again.
    let rows = (first, min(first + 1, last), min(first + 2, last), min(first + 3, last))
    let (x0, x1) = unsafe (row(rows.0), row(rows.1))
    let (x2, x3) = unsafe (row(rows.2), row(rows.3))
    var (a0, b0) = (SIMD16<Float>(), SIMD16<Float>())
    var (a1, b1) = (SIMD16<Float>(), SIMD16<Float>())
    var (a2, b2) = (SIMD16<Float>(), SIMD16<Float>())
    var (a3, b3) = (SIMD16<Float>(), SIMD16<Float>())
    for unit in unsafe 0..<weights.units {
      let (w, place) = unsafe (weights[unit], unit * 4 * WeightUnit.length)
      unsafe a0 = a0.addingProduct(w.first, x0.floats(at: place))
      unsafe b0 = b0.addingProduct(w.second, x0.floats(at: place + 64))
      unsafe a1 = a1.addingProduct(w.first, x1.floats(at: place))
      unsafe b1 = b1.addingProduct(w.second, x1.floats(at: place + 64))
      unsafe a2 = a2.addingProduct(w.first, x2.floats(at: place))
      unsafe b2 = b2.addingProduct(w.second, x2.floats(at: place + 64))
      unsafe a3 = a3.addingProduct(w.first, x3.floats(at: place))
      unsafe b3 = b3.addingProduct(w.second, x3.floats(at: place + 64))
    }
    let sums = [(a0 + b0).laneSum, (a1 + b1).laneSum, (a2 + b2).laneSum, (a3 + b3).laneSum]
    for row in first..<min(first + 4, work.rows) {
      let tail = unsafe weights.rest > 0 ? rest(weights, row: row) : 0
      unsafe put(sums[row - first] + tail, row: row, output: output)
    }
  }

  @unsafe @inline(__always)
  private func row(_ number: Int) -> UnsafeRawPointer {
    unsafe UnsafeRawPointer(work.a + number * work.depth)
  }

  /// Products of what is no whole unit.
  @unsafe
  private func rest<Form: StoredWeights>(_ weights: WeightRow<Form>, row: Int) -> Float {
    let unit = unsafe weights.lastUnit()
    let x = unsafe work.a + (row + 1) * work.depth - weights.rest
    var sum: Float = 0
    for index in unsafe 0..<weights.rest {
      unsafe sum += (index < 16 ? unit.first[index] : unit.second[index - 16]) * x[index]
    }
    return sum
  }

  @unsafe @inline(__always)
  private func put(_ sum: Float, row: Int, output: Int) {
    let place = unsafe factor.c + row * factor.stride + output
    unsafe place.pointee = work.adding ? place.pointee + sum : sum
  }
}

extension UnsafeRawPointer {
  @unsafe @inline(__always)
  fileprivate func floats(at offset: Int) -> SIMD16<Float> {
    unsafe loadUnaligned(fromByteOffset: offset, as: SIMD16<Float>.self)
  }
}
