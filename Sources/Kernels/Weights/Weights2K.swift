import CInstructions
import Compute

/// Q2_K: `d · s · q − e · m` with `s` and `m` of four bits for each sixteen; the sixteen bytes of
/// `s` and `m`, 64 bytes of `q`, `d` and `e` of half precision.
///
/// Each 32 bytes of `q` are four units, two bits of a byte for each.
enum Weights2K: ScaledBlocks {
  static var type: WeightType { .q2_K }
  static var scalesHalves: Bool { true }
  static var hasOffsets: Bool { true }

  @unsafe @inline(__always)
  static func levels(_ part: Int, of block: UnsafeRawPointer) -> WeightUnit {
    let bytes = unsafe block + 16 + part / 4 * 32
    let shift = UInt32(part % 4 * 2)
    return unsafe WeightUnit(bits(bytes, shift, 3), bits(bytes + 16, shift, 3))
  }

  @unsafe @inline(__always)
  static func scales(of block: UnsafeRawPointer) -> SIMD16<Float> {
    unsafe bits(block, 0, 15) * block.half(at: 80)
  }

  @unsafe @inline(__always)
  static func offsets(of block: UnsafeRawPointer) -> SIMD16<Float> {
    unsafe bits(block, 4, 15) * -block.half(at: 82)
  }

  @unsafe @inline(__always)
  private static func bits(
    _ bytes: UnsafeRawPointer, _ shift: UInt32, _ mask: Int32
  ) -> SIMD16<Float> {
    unsafe gyre_joined_bits(bytes, shift, mask, bytes, 0, 0, 0, 0)
  }
}
