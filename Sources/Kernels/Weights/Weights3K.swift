import CInstructions
import Compute

/// Q3_K: `d · (s − 32) · (q − 4)` with `s` of six bits for each sixteen; 32 bytes of the third bits
/// of `q`, 64 bytes of the others as in Q2_K, twelve bytes of `s`, and `d` of half precision.
enum Weights3K: ScaledBlocks {
  static var type: WeightType { .q3_K }
  static var scalesHalves: Bool { true }

  @unsafe @inline(__always)
  static func levels(_ part: Int, of block: UnsafeRawPointer) -> WeightUnit {
    let bytes = unsafe block + 32 + part / 4 * 32
    let (shift, bit) = (UInt32(part % 4 * 2), UInt32(part))
    return unsafe WeightUnit(
      gyre_joined_bits(bytes, shift, 3, block, bit, 1, 2, -4),
      gyre_joined_bits(bytes + 16, shift, 3, block + 16, bit, 1, 2, -4))
  }

  /// The lower four bits of the first eight are lower halves of the first eight bytes, those of the
  /// others upper ones; the last four bytes have two bits more of each, those of every fourth in
  /// one.
  @unsafe @inline(__always)
  static func scales(of block: UnsafeRawPointer) -> SIMD16<Float> {
    let first = unsafe block.loadUnaligned(fromByteOffset: 96, as: UInt32.self)
    let second = unsafe block.loadUnaligned(fromByteOffset: 100, as: UInt32.self)
    let above = unsafe block.loadUnaligned(fromByteOffset: 104, as: UInt32.self)
    let low = SIMD4(first, second, first >> 4, second >> 4) & 0x0F0F_0F0F
    let high = SIMD4(above << 4, above << 2, above, above >> 2) & 0x3030_3030
    let bytes = unsafe unsafeBitCast(low | high, to: SIMD16<UInt8>.self)
    return unsafe (gyre_floats_of_bytes(bytes) - 32) * block.half(at: 108)
  }
}
