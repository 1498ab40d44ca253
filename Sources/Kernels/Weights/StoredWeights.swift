import CInstructions
import Compute

/// A form in which weights are stored, as kernels read it: 32 neighbours of a row at a time.
protocol StoredWeights {
  /// The form.
  static var type: WeightType { get }

  /// Widens weights `32 · number ..< 32 · (number + 1)` of a row.
  ///
  /// - Parameter row: where its first block begins; at any alignment.
  @unsafe static func unit(_ number: Int, of row: UnsafeRawPointer) -> WeightUnit

  /// Widens some units of a row, one after the other.
  ///
  /// - Parameter units: whole blocks.
  @unsafe static func forEachUnit(
    _ units: Range<Int>, of row: UnsafeRawPointer,
    _ body: (_ number: Int, _ weights: WeightUnit) -> Void)

  /// The sum of products of a row's first units with as many numbers, each weight read once.
  @unsafe static func product(
    of row: UnsafeRawPointer, units: Int, with factor: FactorRow
  ) -> Float
}

extension StoredWeights {
  @unsafe @inline(__always)
  static func forEachUnit(
    _ units: Range<Int>, of row: UnsafeRawPointer,
    _ body: (_ number: Int, _ weights: WeightUnit) -> Void
  ) {
    for number in units { unsafe body(number, unit(number, of: row)) }
  }

  @unsafe @inline(__always)
  static func product(of row: UnsafeRawPointer, units: Int, with factor: FactorRow) -> Float {
    var (first, second) = (SIMD16<Float>(), SIMD16<Float>())
    for number in 0..<units {
      unsafe ask(number, of: row)
      let (weights, numbers) = unsafe (unit(number, of: row), factor[number])
      first = first.addingProduct(weights.first, numbers.first)
      second = second.addingProduct(weights.second, numbers.second)
    }
    return (first + second).laneSum
  }

  /// Asks for memory some way after a unit, of this row or of those after it: rows are too short,
  /// and pages too small, for the processor to foresee what is read next.
  @unsafe @inline(__always)
  static func ask(_ unit: Int, of row: UnsafeRawPointer) {
    let unitBytes = type.blockBytes * WeightUnit.length / type.blockLength
    unsafe gyre_prefetch_near(row + (unit &* unitBytes &+ 4096))
  }
}

/// A row of A.
@unsafe
struct FactorRow {
  /// Its numbers, at any alignment.
  let numbers: UnsafeRawPointer
  /// The sum of each sixteen of them, by which the offsets of weights are multiplied.
  let halfSums: UnsafePointer<Float>

  /// Those that the weights of a unit are multiplied by.
  @inline(__always)
  subscript(unit: Int) -> WeightUnit {
    let place = unsafe numbers + unit &* (4 * WeightUnit.length)
    return unsafe WeightUnit(
      place.loadUnaligned(as: SIMD16<Float>.self),
      place.loadUnaligned(fromByteOffset: 64, as: SIMD16<Float>.self))
  }
}

/// 32 neighbouring weights of a row.
struct WeightUnit {
  /// Weights of a unit.
  @inline(__always) static var length: Int { 32 }

  /// The first sixteen.
  var first: SIMD16<Float>
  /// The others.
  var second: SIMD16<Float>

  @inline(__always)
  init(_ first: SIMD16<Float>, _ second: SIMD16<Float>) {
    self.first = first
    self.second = second
  }

  /// `scale · q + offset` of each `q`.
  @inline(__always)
  func scaled(_ scale: SIMD16<Float>, _ offset: SIMD16<Float>) -> WeightUnit {
    WeightUnit(offset.addingProduct(first, scale), offset.addingProduct(second, scale))
  }
}

extension UnsafeRawPointer {
  /// A number of half precision, at any alignment.
  @unsafe @inline(__always)
  func half(at offset: Int) -> Float { unsafe gyre_widen_half(self + offset) }

  /// A byte.
  @unsafe @inline(__always)
  func byte(at offset: Int) -> UInt8 { unsafe load(fromByteOffset: offset, as: UInt8.self) }
}

/// What is done with weights, whatever form they have.
protocol WeightVisitor {
  associatedtype Result
  func visit<Form: StoredWeights>(_ form: Form.Type) -> Result
}

extension WeightType {
  /// Calls a visitor, compiled by itself for each form.
  ///
  /// A new form has its file, its line here, and its sizes in ``WeightType``.
  @inline(__always)
  func visit<Visitor: WeightVisitor>(_ visitor: Visitor) -> Visitor.Result {
    switch self {
    case .f32: visitor.visit(PlainWeights32.self)
    case .f16: visitor.visit(PlainWeights16.self)
    case .bf16: visitor.visit(PlainWeightsBrain.self)
    case .q4_0: visitor.visit(Weights4Symmetric.self)
    case .q4_1: visitor.visit(Weights4.self)
    case .q5_0: visitor.visit(Weights5Symmetric.self)
    case .q5_1: visitor.visit(Weights5.self)
    case .q8_0: visitor.visit(Weights8.self)
    case .q2_K: visitor.visit(Weights2K.self)
    case .q3_K: visitor.visit(Weights3K.self)
    case .q4_K: visitor.visit(Weights4K.self)
    case .q5_K: visitor.visit(Weights5K.self)
    case .q6_K: visitor.visit(Weights6K.self)
    case .mxfp4: visitor.visit(WeightsMX4.self)
    }
  }
}
