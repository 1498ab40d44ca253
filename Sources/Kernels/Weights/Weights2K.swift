import CInstructions
import Compute

/// Q2_K: `d · s · q − e · m` with `s` and `m` of four bits for each sixteen; the sixteen bytes of
/// `s` and `m`, 64 bytes of `q`, `d` and `e` of half precision.
///
/// Each 32 bytes of `q` are four units, two bits of a byte for each.
enum Weights2K: StoredWeights {
  static var type: WeightType { .q2_K }

  @unsafe @inline(__always)
  static func unit(_ number: Int, of row: UnsafeRawPointer) -> WeightUnit {
    let (block, part) = unsafe (row + number / 8 * 84, number % 8)
    let (d, e) = unsafe (block.half(at: 80), block.half(at: 82))
    let bytes = unsafe block + 16 + part / 4 * 32
    let (one, two) = unsafe (block.byte(at: 2 * part), block.byte(at: 2 * part + 1))
    let first = unsafe gyre_floats_of_bytes(gyre_bits_of_bytes(bytes, Int32(part % 4 * 2), 3))
    let second = unsafe gyre_floats_of_bytes(
      gyre_bits_of_bytes(bytes + 16, Int32(part % 4 * 2), 3))
    return WeightUnit(
      SIMD16(repeating: -e * Float(one >> 4)).addingProduct(
        first, SIMD16(repeating: d * Float(one & 15))),
      SIMD16(repeating: -e * Float(two >> 4)).addingProduct(
        second, SIMD16(repeating: d * Float(two & 15))))
  }
}
