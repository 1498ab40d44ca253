import Compute
import Tensors

// Blocks of 256 numbers: one scale `d`, perhaps one `m` for least numbers, and for each 16 or 32
// numbers a whole factor of them.

/// 16 bytes of factors, the scale's in the lower half; 64 bytes of 2 bits; `d`, `m`.
enum Q2K: DecodableBlock {
  static var weightType: WeightType { .q2_K }

  static func decode(
    _ bytes: RawSpan, at start: Int, into numbers: inout MutableSpan<Float>, at index: Int
  ) {
    let scale = bytes.half(at: start + 80)
    let least = bytes.half(at: start + 82)
    // A half of the block is 32 bytes: bits 0 and 1 are its first 32 numbers, 2 and 3 the next.
    for group in 0..<16 {
      let (half, part) = (group / 8, group % 8)
      let shift = UInt8(2 * (part / 2))
      let factors = bytes.byte(at: start + group)
      let quarter = bytes.sixteenBytes(at: start + 16 + 32 * half + 16 * (part % 2))
      let whole = (quarter &>> shift & 3).floats
      let result = whole * (scale * Float(factors & 0x0F)) - least * Float(factors >> 4)
      numbers.store(result, at: index + 16 * group)
    }
  }
}

/// 32 bytes of third bits, 64 bytes of 2 bits, 12 bytes of factors; `d`.
enum Q3K: DecodableBlock {
  static var weightType: WeightType { .q3_K }

  static func decode(
    _ bytes: RawSpan, at start: Int, into numbers: inout MutableSpan<Float>, at index: Int
  ) {
    let scale = bytes.half(at: start + 108)
    for group in 0..<16 {
      let (half, part) = (group / 8, group % 8)
      let (step, side) = (part / 2, part % 2)
      let quarter = bytes.sixteenBytes(at: start + 32 + 32 * half + 16 * side)
      let third = bytes.sixteenBytes(at: start + 16 * side).bit(1 << UInt8(4 * half + step), as: 4)
      let whole = (quarter &>> UInt8(2 * step) & 3 | third).floats - 4
      let factor = Float(factor(group, bytes, at: start + 96)) - 32
      numbers.store(whole * (scale * factor), at: index + 16 * group)
    }
  }

  /// Factor `group` of 16: four bits of bytes 0 to 7, the lower halves first, and two bits of
  /// bytes 8 to 11.
  @inline(__always)
  private static func factor(_ group: Int, _ bytes: RawSpan, at start: Int) -> UInt8 {
    let byte = bytes.byte(at: start + group % 8)
    let low = group < 8 ? byte & 0x0F : byte >> 4
    return low | (bytes.byte(at: start + 8 + group % 4) >> UInt8(2 * (group / 4)) & 3) << 4
  }
}

/// The eight pairs of factors, 6 bits each, that formats Q4_K and Q5_K keep in 12 bytes.
@inline(__always)
private func factors(_ group: Int, _ bytes: RawSpan, at start: Int) -> (scale: Float, least: Float)
{
  if group < 4 {
    return (
      Float(bytes.byte(at: start + group) & 63), Float(bytes.byte(at: start + group + 4) & 63)
    )
  }
  let both = bytes.byte(at: start + group + 4)
  return (
    Float(both & 0x0F | (bytes.byte(at: start + group - 4) >> 6) << 4),
    Float(both >> 4 | (bytes.byte(at: start + group) >> 6) << 4)
  )
}

/// `d`, `m`; 12 bytes of factors; 128 bytes of which each 32 are 64 numbers, lower halves first.
enum Q4K: DecodableBlock {
  static var weightType: WeightType { .q4_K }

  static func decode(
    _ bytes: RawSpan, at start: Int, into numbers: inout MutableSpan<Float>, at index: Int
  ) {
    let scale = bytes.half(at: start)
    let least = bytes.half(at: start + 2)
    for group in 0..<8 {
      let factors = factors(group, bytes, at: start + 4)
      let (factor, offset) = (scale * factors.scale, least * factors.least)
      for part in 0..<2 {
        let pairs = bytes.sixteenBytes(at: start + 16 + 32 * (group / 2) + 16 * part)
        let whole = group % 2 == 0 ? pairs.low : pairs.high
        numbers.store(whole.floats * factor - offset, at: index + 32 * group + 16 * part)
      }
    }
  }
}

/// `d`, `m`; 12 bytes of factors; 32 bytes of fifth bits, bit g those of numbers 32g to 32g + 31;
/// 128 bytes as in Q4_K.
enum Q5K: DecodableBlock {
  static var weightType: WeightType { .q5_K }

  static func decode(
    _ bytes: RawSpan, at start: Int, into numbers: inout MutableSpan<Float>, at index: Int
  ) {
    let scale = bytes.half(at: start)
    let least = bytes.half(at: start + 2)
    for group in 0..<8 {
      let factors = factors(group, bytes, at: start + 4)
      let (factor, offset) = (scale * factors.scale, least * factors.least)
      for part in 0..<2 {
        let pairs = bytes.sixteenBytes(at: start + 48 + 32 * (group / 2) + 16 * part)
        let fifth = bytes.sixteenBytes(at: start + 16 + 16 * part).bit(1 << UInt8(group), as: 16)
        let whole = (group % 2 == 0 ? pairs.low : pairs.high) | fifth
        numbers.store(whole.floats * factor - offset, at: index + 32 * group + 16 * part)
      }
    }
  }
}

/// 128 bytes of lower four bits, 64 bytes of upper two, 16 factors with a sign; `d`.
enum Q6K: DecodableBlock {
  static var weightType: WeightType { .q6_K }

  static func decode(
    _ bytes: RawSpan, at start: Int, into numbers: inout MutableSpan<Float>, at index: Int
  ) {
    let scale = bytes.half(at: start + 208)
    for group in 0..<16 {
      let (half, part) = (group / 8, group % 8)
      // A half is four times 32 numbers, of which the first and third share bytes.
      let (step, side) = (part / 2, part % 2)
      let low = bytes.sixteenBytes(at: start + 64 * half + 32 * (step % 2) + 16 * side)
      let high = bytes.sixteenBytes(at: start + 128 + 32 * half + 16 * side)
      let whole = (step < 2 ? low.low : low.high) | (high &>> UInt8(2 * step) & 3) &<< 4
      let factor = Float(bytes.number(at: start + 192 + group, as: Int8.self))
      numbers.store((whole.floats - 32) * (scale * factor), at: index + 16 * group)
    }
  }
}
