import Tensors

/// A type that keys and values may be packed in.
protocol PackedElement: BitwiseCopyable {
  /// Whether the elements are multiples of scales that lie beside them.
  static var isScaled: Bool { get }

  /// Loads one vector and widens it, exactly; without its scales.
  @unsafe static func load(_ pointer: UnsafePointer<Self>) -> Vector

  /// Widens one element, exactly; without its scale.
  var widened: Float { get }
}

extension PackedElement {
  @inline(__always) static var isScaled: Bool { false }

  /// Loads one vector as the numbers that it stands for.
  @unsafe @inline(__always)
  static func load(_ pointer: UnsafePointer<Self>, by scales: Vector) -> Vector {
    isScaled ? unsafe load(pointer) * scales : unsafe load(pointer)
  }

  /// One scale; 1 for elements without.
  @unsafe @inline(__always)
  static func scale(_ scales: UnsafeRawPointer, at index: Int) -> Float {
    guard isScaled else { return 1 }
    return unsafe scales.loadUnaligned(
      fromByteOffset: index * MemoryLayout<Float>.stride, as: Float.self)
  }

  /// One vector of neighbouring scales; ones for elements without.
  @unsafe @inline(__always)
  static func scales(_ scales: UnsafeRawPointer, at index: Int) -> Vector {
    guard isScaled else { return Vector(repeating: 1) }
    return unsafe scales.loadUnaligned(
      fromByteOffset: index * MemoryLayout<Float>.stride, as: Vector.self)
  }
}

extension Float: PackedElement {
  @unsafe @inline(__always)
  static func load(_ pointer: UnsafePointer<Float>) -> Vector {
    unsafe Vector(loading: pointer, at: 0)
  }

  @inline(__always) var widened: Float { self }
}

extension Float16: PackedElement {
  /// One `vcvtph2ps`.
  @unsafe @inline(__always)
  static func load(_ pointer: UnsafePointer<Float16>) -> Vector {
    unsafe Vector(halves: pointer)
  }

  @inline(__always) var widened: Float { Float(self) }
}

extension BFloat16: PackedElement {
  /// A widening load and a shift.
  @unsafe @inline(__always)
  static func load(_ pointer: UnsafePointer<BFloat16>) -> Vector {
    let shifted = unsafe VectorBits(shorts: pointer) &<< VectorBits(repeating: 16)
    return unsafe unsafeBitCast(shifted, to: Vector.self)
  }

  @inline(__always) var widened: Float { Float(self) }
}

extension Int8: PackedElement {
  @inline(__always) static var isScaled: Bool { true }

  /// A widening load and a conversion.
  @unsafe @inline(__always)
  static func load(_ pointer: UnsafePointer<Int8>) -> Vector {
    unsafe Vector(bytes: pointer)
  }

  @inline(__always) var widened: Float { Float(self) }
}
