import CInstructions
import Compute

/// Q4_K: `d · s · q − e · m` with `s` and `m` of six bits for each unit; `d` and `e` of half
/// precision, twelve bytes of `s` and `m`, 128 bytes of `q`.
///
/// Each 32 bytes of `q` are two units, the lower halves and the upper ones.
enum Weights4K: SixBitBlocks {
  static var type: WeightType { .q4_K }

  @unsafe @inline(__always)
  static func levels(_ part: Int, of block: UnsafeRawPointer) -> WeightUnit {
    let bytes = unsafe block + 16 + part / 2 * 32
    let shift = UInt32(part % 2 * 4)
    return unsafe WeightUnit(
      gyre_four_bits(bytes, shift, 0), gyre_four_bits(bytes + 16, shift, 0))
  }
}

/// Q5_K: as Q4_K, with the fifth bits of `q` in 32 bytes before it, a bit of a byte for each unit.
enum Weights5K: SixBitBlocks {
  static var type: WeightType { .q5_K }

  @unsafe @inline(__always)
  static func levels(_ part: Int, of block: UnsafeRawPointer) -> WeightUnit {
    let (bytes, bits) = unsafe (block + 48 + part / 2 * 32, block + 16)
    let shift = UInt32(part % 2 * 4)
    return unsafe WeightUnit(
      gyre_joined_bits(bytes, shift, 15, bits, UInt32(part), 1, 4, 0),
      gyre_joined_bits(bytes + 16, shift, 15, bits + 16, UInt32(part), 1, 4, 0))
  }
}

/// Blocks that begin with `d` and `e` of half precision and with `s` and `m` of six bits.
protocol SixBitBlocks: ScaledBlocks {}

extension SixBitBlocks {
  static var scalesHalves: Bool { false }
  static var hasOffsets: Bool { true }

  @unsafe @inline(__always)
  static func scales(of block: UnsafeRawPointer) -> SIMD16<Float> {
    unsafe SixBits(block).scales * block.half(at: 0)
  }

  @unsafe @inline(__always)
  static func offsets(of block: UnsafeRawPointer) -> SIMD16<Float> {
    unsafe SixBits(block).offsets * -block.half(at: 2)
  }
}

/// The `s` and `m` of eight units, in the twelve bytes after `d` and `e`.
///
/// Those of the first four units are the lower six bits of the first four bytes, and of the next
/// four; of the others the last four bytes have four bits each, and two more stand above the first
/// ones.
@unsafe
private struct SixBits {
  private let first: UInt32
  private let second: UInt32
  private let third: UInt32

  @inline(__always)
  init(_ block: UnsafeRawPointer) {
    unsafe first = block.loadUnaligned(fromByteOffset: 4, as: UInt32.self)
    unsafe second = block.loadUnaligned(fromByteOffset: 8, as: UInt32.self)
    unsafe third = block.loadUnaligned(fromByteOffset: 12, as: UInt32.self)
  }

  @inline(__always)
  var scales: SIMD16<Float> { unsafe numbers(first, third) }

  @inline(__always)
  var offsets: SIMD16<Float> { unsafe numbers(second, third >> 4) }

  /// Eight numbers, each twice: for both halves of a unit.
  @inline(__always)
  private func numbers(_ own: UInt32, _ others: UInt32) -> SIMD16<Float> {
    let last = others & 0x0F0F_0F0F | own >> 2 & 0x3030_3030
    return gyre_floats_of_bytes(
      gyre_bytes_twice(UInt64(own & 0x3F3F_3F3F) | UInt64(last) << 32))
  }
}
