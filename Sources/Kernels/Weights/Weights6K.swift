import CInstructions
import Compute

/// Q6_K: `d · s · (q − 32)` with `s` of eight bits and a sign for each sixteen; 128 bytes of the
/// lower four bits of `q`, 64 bytes of the upper two, sixteen of `s`, and `d` of half precision.
///
/// Of 64 bytes of lower bits two units are the lower halves and two the upper ones; 32 bytes of
/// upper bits are four units, two bits of a byte for each.
enum Weights6K: StoredWeights {
  static var type: WeightType { .q6_K }

  @unsafe @inline(__always)
  static func unit(_ number: Int, of row: UnsafeRawPointer) -> WeightUnit {
    let (block, part) = unsafe (row + number / 8 * 210, number % 8)
    let (half, place) = (part / 4, part % 4)
    let low = unsafe block + half * 64 + place % 2 * 32
    let high = unsafe block + 128 + half * 32
    let scales = unsafe block + 192 + 2 * part
    let d = unsafe block.half(at: 208)
    return unsafe WeightUnit(
      sixteen(low, high, place, scale: d * signed(scales.byte(at: 0))),
      sixteen(low + 16, high + 16, place, scale: d * signed(scales.byte(at: 1))))
  }

  @inline(__always)
  private static func signed(_ byte: UInt8) -> Float { Float(Int8(bitPattern: byte)) }

  @unsafe @inline(__always)
  private static func sixteen(
    _ low: UnsafeRawPointer, _ high: UnsafeRawPointer, _ place: Int, scale: Float
  ) -> SIMD16<Float> {
    let bits =
      unsafe gyre_bits_of_bytes(low, Int32(place / 2 * 4), 15)
      | gyre_bits_of_bytes(high, Int32(place * 2), 3) &* 16
    return SIMD16(repeating: -32 * scale).addingProduct(
      gyre_floats_of_bytes(bits), SIMD16(repeating: scale))
  }
}
