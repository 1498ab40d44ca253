import CInstructions
import Compute

/// Q5_0: `d · (q − 16)`; `d` of half precision, the fifth bits of all in four bytes, then the bytes
/// of Q4_0.
enum Weights5Symmetric: StoredWeights {
  static var type: WeightType { .q5_0 }

  @unsafe @inline(__always)
  static func unit(_ number: Int, of row: UnsafeRawPointer) -> WeightUnit {
    let block = unsafe row + number * 22
    let d = unsafe block.half(at: 0)
    return unsafe FiveBits(bits: block + 2, bytes: block + 6).unit(scale: d, offset: -16 * d)
  }
}

/// Q5_1: `d · q + m`; `d` and `m` of half precision, then as Q5_0.
enum Weights5: StoredWeights {
  static var type: WeightType { .q5_1 }

  @unsafe @inline(__always)
  static func unit(_ number: Int, of row: UnsafeRawPointer) -> WeightUnit {
    let block = unsafe row + number * 24
    return unsafe FiveBits(bits: block + 4, bytes: block + 8).unit(
      scale: block.half(at: 0), offset: block.half(at: 2))
  }
}

/// Where the bits of a block of Q5 lie.
@unsafe
private struct FiveBits {
  let bits: UnsafeRawPointer
  let bytes: UnsafeRawPointer

  @inline(__always)
  func unit(scale: Float, offset: Float) -> WeightUnit {
    let high = unsafe bits.loadUnaligned(as: UInt32.self)
    let first = unsafe gyre_bits_of_bytes(bytes, 0, 15) | gyre_bytes_of_bits(high, 16)
    let second = unsafe gyre_bits_of_bytes(bytes, 4, 15) | gyre_bytes_of_bits(high >> 16, 16)
    return WeightUnit(
      gyre_floats_of_bytes(first), gyre_floats_of_bytes(second), scale: scale, offset: offset)
  }
}
