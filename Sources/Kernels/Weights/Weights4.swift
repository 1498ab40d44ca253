import CInstructions
import Compute

/// Q4_0: `d · (q − 8)`; `d` of half precision, then sixteen bytes, whose lower halves are the first
/// sixteen of a block and whose upper halves the others.
enum Weights4Symmetric: ScaledUnits {
  static var type: WeightType { .q4_0 }

  @unsafe @inline(__always)
  static func levels(of block: UnsafeRawPointer) -> WeightUnit {
    unsafe WeightUnit(gyre_four_bits(block + 2, 0, -8), gyre_four_bits(block + 2, 4, -8))
  }
}

/// Q4_1: `d · q + m`; `d` and `m` of half precision, then the bytes of Q4_0.
enum Weights4: ScaledUnits {
  static var type: WeightType { .q4_1 }
  static var offsetPlace: Int? { 2 }

  @unsafe @inline(__always)
  static func levels(of block: UnsafeRawPointer) -> WeightUnit {
    unsafe WeightUnit(gyre_four_bits(block + 4, 0, 0), gyre_four_bits(block + 4, 4, 0))
  }
}
