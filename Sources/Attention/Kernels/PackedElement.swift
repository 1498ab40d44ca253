import Tensors

/// A type that keys and values may be packed in.
protocol PackedElement: BitwiseCopyable {
  /// Rounds to the nearest.
  init(_ value: Float)

  /// Loads one vector and widens it, exactly.
  @unsafe static func load(_ pointer: UnsafePointer<Self>) -> Vector

  /// Widens one element, exactly.
  var widened: Float { get }
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
    unsafe Vector(UnsafeRawPointer(pointer).loadUnaligned(as: HalfVector.self))
  }

  @inline(__always) var widened: Float { Float(self) }
}

extension BFloat16: PackedElement {
  /// A widening load and a shift.
  @unsafe @inline(__always)
  static func load(_ pointer: UnsafePointer<BFloat16>) -> Vector {
    let bits = unsafe UnsafeRawPointer(pointer).loadUnaligned(as: ShortVector.self)
    let shifted =
      VectorBits(truncatingIfNeeded: bits) &<< VectorBits(repeating: 16)
    return unsafe unsafeBitCast(shifted, to: Vector.self)
  }

  @inline(__always) var widened: Float { Float(self) }
}
