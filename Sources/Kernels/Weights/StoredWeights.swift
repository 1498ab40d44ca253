import Compute

/// A form in which weights are stored, as kernels read it: 32 neighbours of a row at a time.
protocol StoredWeights {
  /// The form.
  static var type: WeightType { get }

  /// Widens weights `32 · number ..< 32 · (number + 1)` of a row.
  ///
  /// - Parameter row: where its first block begins; at any alignment.
  @unsafe static func unit(_ number: Int, of row: UnsafeRawPointer) -> WeightUnit
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

  /// `scale · q + offset` of each.
  @inline(__always)
  init(
    _ first: SIMD16<Float>, _ second: SIMD16<Float>, scale: Float, offset: Float
  ) {
    self.first = SIMD16(repeating: offset).addingProduct(first, SIMD16(repeating: scale))
    self.second = SIMD16(repeating: offset).addingProduct(second, SIMD16(repeating: scale))
  }
}

extension UnsafeRawPointer {
  /// A number of half precision, at any alignment.
  @unsafe @inline(__always)
  func half(at offset: Int) -> Float {
    unsafe Float(loadUnaligned(fromByteOffset: offset, as: Float16.self))
  }

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
    }
  }
}
