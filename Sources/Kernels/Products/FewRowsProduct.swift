import Compute

/// Products of a few rows with weights that are widened in registers: each byte of them is read
/// once, and memory is the limit.
///
/// A thread takes some rows of weights at a time. Up to three rows of A meet them as they are
/// stored, one after the other; more are taken as many at a time as registers have sums for and
/// meet widened ones.
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

  /// Puts the sum of each half of a unit of rows of A that are taken one by one into the scratch.
  @unsafe
  private static func sumHalves(_ work: WeightProduct) {
    if work.rows > WeightProduct.rowsOneByOne { return }
    for number in 0..<work.rows {
      let row = unsafe work.factorRow(number)
      let sums = unsafe work.scratch + number * (work.depth / 16)
      for unit in 0..<work.depth / WeightUnit.length {
        let numbers = unsafe row[unit]
        unsafe sums[2 * unit] = numbers.first.laneSum
        unsafe sums[2 * unit + 1] = numbers.second.laneSum
      }
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

extension WeightProduct {
  /// A row of A that is taken by itself.
  @unsafe @inline(__always)
  fileprivate func factorRow(_ row: Int) -> FactorRow {
    unsafe FactorRow(
      numbers: UnsafeRawPointer(a + row * depth), halfSums: scratch + row * (depth / 16))
  }
}

/// Some rows of weights, and all rows of A.
private struct FewRowsStretch: WeightVisitor {
  let work: WeightProduct
  let factor: WeightProduct.Factor
  let outputs: Range<Int>

  func visit<Form: StoredWeights>(_ form: Form.Type) {
    for output in outputs {
      if work.rows <= WeightProduct.rowsOneByOne {
        for row in 0..<work.rows { unsafe oneRow(form, output, row) }
      } else {
        unsafe severalRows(form, output)
      }
    }
  }

  @unsafe @inline(__always)
  private func oneRow<Form: StoredWeights>(_ form: Form.Type, _ output: Int, _ row: Int) {
    let weights = unsafe WeightRow<Form>(output, of: factor.weights, depth: work.depth)
    let tail = unsafe weights.rest > 0 ? rest(weights, row: row) : 0
    unsafe put(weights.product(with: work.factorRow(row)) + tail, row: row, output: output)
  }

  /// All rows of A, one of weights.
  @unsafe @inline(__always)
  private func severalRows<Form: StoredWeights>(_ form: Form.Type, _ output: Int) {
    var first = 0
    while first < work.rows {
      switch work.rows - first {
      case 1, 2:
        unsafe rows(form, output, first, TwoRows.self)
        first += TwoRows.count
      case 3, 4:
        unsafe rows(form, output, first, FourRows.self)
        first += FourRows.count
      default:
        unsafe rows(form, output, first, MostRows.self)
        first += MostRows.count
      }
    }
  }

  /// Some rows of A, one of weights.
  @unsafe @inline(__always)
  private func rows<Form: StoredWeights, Rows: RowSums>(
    _ form: Form.Type, _ output: Int, _ first: Int, _ kind: Rows.Type
  ) {
    let weights = unsafe WeightRow<Form>(output, of: factor.weights, depth: work.depth)
    var sums = unsafe Rows(of: work, from: first)
    unsafe weights.forEachUnit(0..<weights.units) { unit, w in
      sums.add(w, at: unit * 4 * WeightUnit.length)
    }
    for row in first..<min(first + Rows.count, work.rows) {
      let tail = unsafe weights.rest > 0 ? rest(weights, row: row) : 0
      unsafe put(sums[row - first] + tail, row: row, output: output)
    }
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

/// Sums of products of some rows of A with one of weights, in registers.
private protocol RowSums {
  static var count: Int { get }

  /// Rows from `first` on; those that are not there are the last one again.
  @unsafe init(of work: WeightProduct, from first: Int)

  /// Adds products with a unit of weights.
  ///
  /// - Parameter place: where it begins in rows of A, in bytes.
  mutating func add(_ weights: WeightUnit, at place: Int)

  /// The sum of a row.
  subscript(row: Int) -> Float { get }
}

@safe
private struct TwoRows: RowSums {
  private let x0, x1: UnsafeRawPointer
  private var (a0, b0) = (SIMD16<Float>(), SIMD16<Float>())
  private var (a1, b1) = (SIMD16<Float>(), SIMD16<Float>())

  @inline(__always) static var count: Int { 2 }

  @unsafe @inline(__always)
  init(of work: WeightProduct, from first: Int) {
    let last = work.rows - 1
    unsafe x0 = UnsafeRawPointer(work.a + min(first, last) * work.depth)
    unsafe x1 = UnsafeRawPointer(work.a + min(first + 1, last) * work.depth)
  }

  @inline(__always)
  mutating func add(_ weights: WeightUnit, at place: Int) {
    unsafe a0 = a0.addingProduct(weights.first, x0.floats(at: place))
    unsafe b0 = b0.addingProduct(weights.second, x0.floats(at: place + 64))
    unsafe a1 = a1.addingProduct(weights.first, x1.floats(at: place))
    unsafe b1 = b1.addingProduct(weights.second, x1.floats(at: place + 64))
  }

  @inline(__always)
  subscript(row: Int) -> Float { row == 0 ? (a0 + b0).laneSum : (a1 + b1).laneSum }
}

/// Twice as many.
private struct Twice<Rows: RowSums>: RowSums {
  private var first, second: Rows

  @inline(__always) static var count: Int { 2 * Rows.count }

  @unsafe @inline(__always)
  init(of work: WeightProduct, from row: Int) {
    unsafe first = Rows(of: work, from: row)
    unsafe second = Rows(of: work, from: row + Rows.count)
  }

  @inline(__always)
  mutating func add(_ weights: WeightUnit, at place: Int) {
    first.add(weights, at: place)
    second.add(weights, at: place)
  }

  @inline(__always)
  subscript(row: Int) -> Float { row < Rows.count ? first[row] : second[row - Rows.count] }
}

private typealias FourRows = Twice<TwoRows>
#if GYRE_AVX512
  private typealias MostRows = Twice<FourRows>
#else
  private typealias MostRows = FourRows
#endif

extension UnsafeRawPointer {
  @unsafe @inline(__always)
  fileprivate func floats(at offset: Int) -> SIMD16<Float> {
    unsafe loadUnaligned(fromByteOffset: offset, as: SIMD16<Float>.self)
  }
}
