import Compute

/// Products of a few rows with weights that are widened in registers: each byte of them is read
/// once, and memory is the limit.
///
/// A thread takes some rows of weights at a time. One row of A meets them as they are stored, more
/// rows are taken four at a time and meet widened ones.
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
    unsafe Self.sumHalves(work)
  }

  /// Puts the sum of each half of a unit of the only row of A into the scratch.
  @unsafe
  private static func sumHalves(_ work: WeightProduct) {
    if work.rows != 1 { return }
    let row = unsafe FactorRow(numbers: work.a, halfSums: work.scratch)
    for unit in 0..<work.depth / WeightUnit.length {
      let numbers = unsafe row[unit]
      unsafe work.scratch[2 * unit] = numbers.first.laneSum
      unsafe work.scratch[2 * unit + 1] = numbers.second.laneSum
    }
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
    for output in outputs {
      if work.rows == 1 {
        unsafe oneRow(form, output)
      } else {
        for row in stride(from: 0, to: work.rows, by: 4) { unsafe fourRows(form, output, row) }
      }
    }
  }

  @unsafe @inline(__always)
  private func oneRow<Form: StoredWeights>(_ form: Form.Type, _ output: Int) {
    let weights = unsafe WeightRow<Form>(output, of: factor.weights, depth: work.depth)
    let row = unsafe FactorRow(numbers: work.a, halfSums: work.scratch)
    let tail = unsafe weights.rest > 0 ? rest(weights, row: 0) : 0
    unsafe put(weights.product(with: row) + tail, row: 0, output: output)
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
    unsafe weights.forEachUnit(0..<weights.units) { unit, w in
      let place = unit * 4 * WeightUnit.length
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
