import CInstructions
import Compute

/// Q4_K: `d · s · q − e · m` with `s` and `m` of six bits for each unit; `d` and `e` of half
/// precision, twelve bytes of `s` and `m`, 128 bytes of `q`.
///
/// Each 32 bytes of `q` are two units, the lower halves and the upper ones.
enum Weights4K: StoredWeights {
  static var type: WeightType { .q4_K }

  @unsafe @inline(__always)
  static func unit(_ number: Int, of row: UnsafeRawPointer) -> WeightUnit {
    let (block, part) = unsafe (row + number / 8 * 144, number % 8)
    let (scale, offset) = unsafe SixBitScales(block + 4).pair(part)
    let bytes = unsafe block + 16 + part / 2 * 32
    let shift = Int32(part % 2 * 4)
    return unsafe WeightUnit(
      gyre_floats_of_bytes(gyre_bits_of_bytes(bytes, shift, 15)),
      gyre_floats_of_bytes(gyre_bits_of_bytes(bytes + 16, shift, 15)),
      scale: block.half(at: 0) * scale, offset: -block.half(at: 2) * offset)
  }
}

/// Q5_K: as Q4_K, with the fifth bits of `q` in 32 bytes before it, a bit of a byte for each unit.
enum Weights5K: StoredWeights {
  static var type: WeightType { .q5_K }

  @unsafe @inline(__always)
  static func unit(_ number: Int, of row: UnsafeRawPointer) -> WeightUnit {
    let (block, part) = unsafe (row + number / 8 * 176, number % 8)
    let (scale, offset) = unsafe SixBitScales(block + 4).pair(part)
    let bytes = unsafe block + 48 + part / 2 * 32
    let shift = Int32(part % 2 * 4)
    let first =
      unsafe gyre_bits_of_bytes(bytes, shift, 15)
      | gyre_bits_of_bytes(block + 16, Int32(part), 1) &* 16
    let second =
      unsafe gyre_bits_of_bytes(bytes + 16, shift, 15)
      | gyre_bits_of_bytes(block + 32, Int32(part), 1) &* 16
    return unsafe WeightUnit(
      gyre_floats_of_bytes(first), gyre_floats_of_bytes(second), scale: block.half(at: 0) * scale,
      offset: -block.half(at: 2) * offset)
  }
}

/// Eight scales and eight offsets of six bits in twelve bytes.
///
/// Those of the first four are the lower six bits of the first four bytes, and of the next four; of
/// the others the last four bytes have four bits each, and two more stand above the first ones.
@unsafe
private struct SixBitScales {
  private let bytes: UnsafeRawPointer

  @inline(__always)
  init(_ bytes: UnsafeRawPointer) { unsafe self.bytes = bytes }

  @inline(__always)
  func pair(_ number: Int) -> (scale: Float, offset: Float) {
    if number < 4 {
      return unsafe (Float(bytes.byte(at: number) & 63), Float(bytes.byte(at: number + 4) & 63))
    }
    let low = unsafe bytes.byte(at: number + 4)
    let scale = unsafe low & 15 | (bytes.byte(at: number - 4) >> 6) << 4
    let offset = unsafe low >> 4 | (bytes.byte(at: number) >> 6) << 4
    return (Float(scale), Float(offset))
  }
}
