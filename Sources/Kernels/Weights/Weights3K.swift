import CInstructions
import Compute

/// Q3_K: `d · (s − 32) · (q − 4)` with `s` of six bits for each sixteen; 32 bytes of the third bits
/// of `q`, 64 bytes of the others as in Q2_K, twelve bytes of `s`, and `d` of half precision.
enum Weights3K: StoredWeights {
  static var type: WeightType { .q3_K }

  @unsafe @inline(__always)
  static func unit(_ number: Int, of row: UnsafeRawPointer) -> WeightUnit {
    let (block, part) = unsafe (row + number / 8 * 110, number % 8)
    let d = unsafe block.half(at: 108)
    let bytes = unsafe block + 32 + part / 4 * 32
    return unsafe WeightUnit(
      sixteen(bytes, block, part, scale: d * scale(2 * part, block + 96)),
      sixteen(bytes + 16, block + 16, part, scale: d * scale(2 * part + 1, block + 96)))
  }

  @unsafe @inline(__always)
  private static func sixteen(
    _ bytes: UnsafeRawPointer, _ thirdBits: UnsafeRawPointer, _ part: Int, scale: Float
  ) -> SIMD16<Float> {
    let low = unsafe gyre_bits_of_bytes(bytes, Int32(part % 4 * 2), 3)
    let high = unsafe gyre_bits_of_bytes(thirdBits, Int32(part), 1) &* 4
    return SIMD16(repeating: -4 * scale).addingProduct(
      gyre_floats_of_bytes(low | high), SIMD16(repeating: scale))
  }

  /// The lower four bits of the first eight are lower halves of the first eight bytes, those of the
  /// others upper ones; the last four bytes have two bits more of each, those of every fourth in
  /// one.
  @unsafe @inline(__always)
  private static func scale(_ number: Int, _ bytes: UnsafeRawPointer) -> Float {
    let low = unsafe bytes.byte(at: number % 8) >> (number < 8 ? 0 : 4) & 15
    let high = unsafe bytes.byte(at: 8 + number % 4) >> UInt8(number / 4 * 2) & 3
    return Float(Int(low | high << 4) - 32)
  }
}
