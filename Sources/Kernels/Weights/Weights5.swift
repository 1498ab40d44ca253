import CInstructions
import Compute

/// Q5_0: `d · (q − 16)`; `d` of half precision, the fifth bits of all in four bytes, then the bytes
/// of Q4_0.
enum Weights5Symmetric: ScaledUnits {
  static var type: WeightType { .q5_0 }

  @unsafe @inline(__always)
  static func levels(of block: UnsafeRawPointer) -> WeightUnit {
    let bits = unsafe block.loadUnaligned(fromByteOffset: 2, as: UInt32.self)
    return unsafe WeightUnit(
      gyre_five_bits(block + 6, 0, bits, -16), gyre_five_bits(block + 6, 4, bits >> 16, -16))
  }
}

/// Q5_1: `d · q + m`; `d` and `m` of half precision, then as Q5_0.
enum Weights5: ScaledUnits {
  static var type: WeightType { .q5_1 }
  static var offsetPlace: Int? { 2 }

  @unsafe @inline(__always)
  static func levels(of block: UnsafeRawPointer) -> WeightUnit {
    let bits = unsafe block.loadUnaligned(fromByteOffset: 4, as: UInt32.self)
    return unsafe WeightUnit(
      gyre_five_bits(block + 8, 0, bits, 0), gyre_five_bits(block + 8, 4, bits >> 16, 0))
  }
}
