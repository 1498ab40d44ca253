import Compute
import Tensors

// Blocks of 32 numbers with one scale `d`, and perhaps a least number `m`. Of numbers of 4 and 5
// bits byte j holds number j in its lower half and number j + 16 in its upper half.

/// `d`; 16 bytes.
enum Q4_0: DecodableBlock {
  static var weightType: WeightType { .q4_0 }

  static func decode(
    _ bytes: RawSpan, at start: Int, into numbers: inout MutableSpan<Float>, at index: Int
  ) {
    let scale = bytes.half(at: start)
    let pairs = bytes.sixteenBytes(at: start + 2)
    numbers.store((pairs.low.floats - 8) * scale, at: index)
    numbers.store((pairs.high.floats - 8) * scale, at: index + 16)
  }
}

/// `d`, `m`; 16 bytes.
enum Q4_1: DecodableBlock {
  static var weightType: WeightType { .q4_1 }

  static func decode(
    _ bytes: RawSpan, at start: Int, into numbers: inout MutableSpan<Float>, at index: Int
  ) {
    let scale = bytes.half(at: start)
    let least = bytes.half(at: start + 2)
    let pairs = bytes.sixteenBytes(at: start + 4)
    numbers.store(pairs.low.floats * scale + least, at: index)
    numbers.store(pairs.high.floats * scale + least, at: index + 16)
  }
}

/// The fifth bits of 32 numbers, which lie in four bytes: bit j is that of number j.
private struct FifthBits {
  /// 16 where the bit of a number is set, else 0; of the first and the last 16 numbers.
  let first, last: SIMD16<UInt8>

  @inline(__always)
  init(_ bytes: RawSpan, at start: Int) {
    let masks = SIMD16<UInt8>(1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128)
    func expanded(_ start: Int) -> SIMD16<UInt8> {
      let spread = SIMD16<UInt8>(
        lowHalf: SIMD8(repeating: bytes.byte(at: start)),
        highHalf: SIMD8(repeating: bytes.byte(at: start + 1)))
      return SIMD16<UInt8>(repeating: 0).replacing(with: 16, where: (spread & masks) .!= 0)
    }
    first = expanded(start)
    last = expanded(start + 2)
  }
}

/// `d`; 4 bytes of fifth bits; 16 bytes.
enum Q5_0: DecodableBlock {
  static var weightType: WeightType { .q5_0 }

  static func decode(
    _ bytes: RawSpan, at start: Int, into numbers: inout MutableSpan<Float>, at index: Int
  ) {
    let scale = bytes.half(at: start)
    let fifth = FifthBits(bytes, at: start + 2)
    let pairs = bytes.sixteenBytes(at: start + 6)
    numbers.store(((pairs.low | fifth.first).floats - 16) * scale, at: index)
    numbers.store(((pairs.high | fifth.last).floats - 16) * scale, at: index + 16)
  }
}

/// `d`, `m`; 4 bytes of fifth bits; 16 bytes.
enum Q5_1: DecodableBlock {
  static var weightType: WeightType { .q5_1 }

  static func decode(
    _ bytes: RawSpan, at start: Int, into numbers: inout MutableSpan<Float>, at index: Int
  ) {
    let scale = bytes.half(at: start)
    let least = bytes.half(at: start + 2)
    let fifth = FifthBits(bytes, at: start + 4)
    let pairs = bytes.sixteenBytes(at: start + 8)
    numbers.store((pairs.low | fifth.first).floats * scale + least, at: index)
    numbers.store((pairs.high | fifth.last).floats * scale + least, at: index + 16)
  }
}

/// `d`; 32 bytes with a sign.
enum Q8_0: DecodableBlock {
  static var weightType: WeightType { .q8_0 }

  static func decode(
    _ bytes: RawSpan, at start: Int, into numbers: inout MutableSpan<Float>, at index: Int
  ) {
    let scale = bytes.half(at: start)
    for part in 0..<2 {
      let signed = SIMD16<Int8>(
        truncatingIfNeeded: bytes.sixteenBytes(at: start + 2 + 16 * part))
      let whole = SIMD16<Float>(SIMD16<Int32>(truncatingIfNeeded: signed))
      numbers.store(whole * scale, at: index + 16 * part)
    }
  }
}

/// An exponent `e`; 16 bytes.
enum MXFP4: DecodableBlock {
  static var weightType: WeightType { .mxfp4 }

  /// Twice the numbers of four bits, which are whole then.
  private static let levels: [Float] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12]

  static func decode(
    _ bytes: RawSpan, at start: Int, into numbers: inout MutableSpan<Float>, at index: Int
  ) {
    // Two of them are powers of two that `Float` has but as subnormal numbers.
    let scale = Float(sign: .plus, exponent: Int(bytes.byte(at: start)) - 128, significand: 1)
    for place in 0..<16 {
      let pair = bytes.byte(at: start + 1 + place)
      numbers[index + place] = levels[Int(pair & 0x0F)] * scale
      numbers[index + 16 + place] = levels[Int(pair >> 4)] * scale
    }
  }
}
