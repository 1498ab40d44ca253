import CInstructions
import Compute

/// Q6_K: `d · s · (q − 32)` with `s` of eight bits and a sign for each sixteen; 128 bytes of the
/// lower four bits of `q`, 64 bytes of the upper two, sixteen of `s`, and `d` of half precision.
///
/// Of 64 bytes of lower bits two units are the lower halves and two the upper ones; 32 bytes of
/// upper bits are four units, two bits of a byte for each.
enum Weights6K: ScaledBlocks {
  static var type: WeightType { .q6_K }
  static var scalesHalves: Bool { true }

  @unsafe @inline(__always)
  static func levels(_ part: Int, of block: UnsafeRawPointer) -> WeightUnit {
    let (half, place) = (part / 4, part % 4)
    let low = unsafe block + half * 64 + place % 2 * 32
    let high = unsafe block + 128 + half * 32
    let (lowShift, highShift) = (UInt32(place / 2 * 4), UInt32(place * 2))
    return unsafe WeightUnit(
      gyre_joined_bits(low, lowShift, 15, high, highShift, 3, 4, -32),
      gyre_joined_bits(low + 16, lowShift, 15, high + 16, highShift, 3, 4, -32))
  }

  @unsafe @inline(__always)
  static func scales(of block: UnsafeRawPointer) -> SIMD16<Float> {
    unsafe gyre_widen_bytes(block + 192) * block.half(at: 208)
  }
}
