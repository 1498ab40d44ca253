import CInstructions
import Tensors

/// One row of a panel, W = 16 numbers: two AVX2 registers, or one of AVX-512.
typealias PanelRow = SIMD16<Float>

/// What packed elements have to know to be read where they lie, a row of a panel at a time.
///
/// Of memory that is read once there is one instruction to spare for every few bytes; so lanes may
/// come in an order that costs less than their own, the same for every row.
protocol PanelElement: PackedElement {
  /// Whether products of ``row(_:)`` are multiplied by ``unit`` and by scales, not its numbers.
  static var isFactored: Bool { get }

  /// What they are multiples of beside their scales: a power of two.
  static var unit: Float { get }

  /// Whether memory has to be asked for what comes later: processors look ahead by themselves, but
  /// not as fast as bytes are used up.
  static var asksAhead: Bool { get }

  /// Loads and widens a row of a panel, in an order of its own.
  @unsafe static func row(_ pointer: UnsafePointer<Self>) -> PanelRow

  /// Lanes in their own order.
  static func ordered(_ row: PanelRow) -> PanelRow
}

extension PanelElement {
  @inline(__always) static var isFactored: Bool { false }
  @inline(__always) static var unit: Float { 1 }
  @inline(__always) static var asksAhead: Bool { MemoryLayout<Self>.stride == 1 }
  @inline(__always) static func ordered(_ row: PanelRow) -> PanelRow { row }

  /// Loads a row of a panel as the numbers that it stands for, unless they are factored.
  ///
  /// - Parameters:
  ///   - scales: of the row, or of its first lane.
  ///   - across: whether each lane has a scale of its own.
  @unsafe @inline(__always)
  static func row(
    _ pointer: UnsafePointer<Self>, scales: UnsafeRawPointer, across: Bool
  ) -> PanelRow {
    guard isScaled, !isFactored else { return unsafe row(pointer) }
    let factors =
      unsafe across
      ? PanelRow(loading: scales)
      : PanelRow(repeating: scales.loadUnaligned(as: Float.self))
    return unsafe row(pointer) * factors
  }

  /// The scales of a row of neighbours; ones for elements without.
  @unsafe @inline(__always)
  static func scaleRow(_ scales: UnsafeRawPointer, at index: Int) -> PanelRow {
    guard isScaled else { return PanelRow(repeating: 1) }
    return unsafe PanelRow(loading: scales + index * MemoryLayout<Float>.stride)
  }
}

extension Float: PanelElement {
  @unsafe @inline(__always)
  static func row(_ pointer: UnsafePointer<Float>) -> PanelRow {
    unsafe PanelRow(loading: pointer)
  }
}

extension Float16: PanelElement {
  @unsafe @inline(__always)
  static func row(_ pointer: UnsafePointer<Float16>) -> PanelRow {
    unsafe gyre_widen_halves(pointer)
  }
}

extension BFloat16: PanelElement {
  /// The upper half of a 32-bit word is a number already, the lower half after a shift: a load and
  /// two instructions for sixteen numbers, where widening loads take six.
  @unsafe @inline(__always)
  static func row(_ pointer: UnsafePointer<BFloat16>) -> PanelRow {
    let words = unsafe UnsafeRawPointer(pointer).loadUnaligned(as: SIMD8<UInt32>.self)
    return unsafe PanelRow(
      lowHalf: unsafeBitCast(words &<< SIMD8(repeating: 16), to: SIMD8<Float>.self),
      highHalf: unsafeBitCast(words & SIMD8(repeating: 0xFFFF_0000), to: SIMD8<Float>.self))
  }

  @inline(__always)
  static func ordered(_ row: PanelRow) -> PanelRow {
    var result = PanelRow()
    result.evenHalf = row.lowHalf
    result.oddHalf = row.highHalf
    return result
  }
}

extension Int8: PanelElement {
  @unsafe @inline(__always)
  static func row(_ pointer: UnsafePointer<Int8>) -> PanelRow { unsafe gyre_widen_bytes(pointer) }
}

/// An ``Swift/Int8`` whose scale is taken out of the products: `Σ q (s k)` is `s Σ q k`, which
/// rounds otherwise, and spares a multiplication for each element.
struct FactoredInt8: PanelElement {
  let integer: Int8

  @inline(__always) static var isScaled: Bool { true }
  @inline(__always) static var isFactored: Bool { true }
  // With 256 bits, numbers 2^24 times as large take half as long to widen.
  #if GYRE_AVX512
    @unsafe @inline(__always)
    static func row(_ pointer: UnsafePointer<FactoredInt8>) -> PanelRow {
      unsafe gyre_widen_bytes(pointer)
    }
  #else
    @inline(__always) static var unit: Float { 0x1p-24 }

    @unsafe @inline(__always)
    static func row(_ pointer: UnsafePointer<FactoredInt8>) -> PanelRow {
      unsafe gyre_widen_bytes_upwards(pointer)
    }
  #endif

  @unsafe @inline(__always)
  static func load(_ pointer: UnsafePointer<FactoredInt8>) -> Vector {
    unsafe Int8.load(UnsafeRawPointer(pointer).assumingMemoryBound(to: Int8.self))
  }

  @inline(__always) var widened: Float { integer.widened }
}

extension PanelRow {
  /// Loads a row at any alignment.
  @unsafe @inline(__always)
  init(loading pointer: UnsafeRawPointer) {
    unsafe self = pointer.loadUnaligned(as: Self.self)
  }

  /// Stores the row at any alignment.
  @unsafe @inline(__always)
  func store(to pointer: UnsafeMutablePointer<Float>) {
    unsafe UnsafeMutableRawPointer(pointer).storeBytes(of: self, as: Self.self)
  }

  /// Adds the row to the floats at `pointer`, at any alignment.
  @unsafe @inline(__always)
  func add(to pointer: UnsafeMutablePointer<Float>) {
    unsafe (PanelRow(loading: pointer) + self).store(to: pointer)
  }
}
