package import Compute
import Tensors

/// A format of blocks, as code: how one block becomes numbers.
protocol DecodableBlock {
  static var weightType: WeightType { get }

  /// Writes the numbers of the block that begins at byte `start`, from `index` on.
  ///
  /// Products and sums are rounded one by one, in the order in which ggml's reference writes them.
  static func decode(
    _ bytes: RawSpan, at start: Int, into numbers: inout MutableSpan<Float>, at index: Int)
}

extension WeightType {
  /// Turns whole blocks into numbers.
  ///
  /// - Parameters:
  ///   - bytes: The blocks, one after the other; any alignment.
  ///   - numbers: Where the numbers go.
  /// - Precondition: `numbers.count` is what whole blocks hold, and `bytes` is those blocks.
  /// - Complexity: O(`numbers.count`).
  package func decode(_ bytes: RawSpan, into numbers: inout MutableSpan<Float>) {
    precondition(
      numbers.count % blockLength == 0
        && bytes.byteCount == numbers.count / blockLength * blockBytes,
      "\(bytes.byteCount) bytes are not \(numbers.count) numbers in blocks of \(self)")
    switch self {
    case .f32: ElementType.f32.decode(bytes, into: &numbers)
    case .f16: ElementType.f16.decode(bytes, into: &numbers)
    case .bf16: ElementType.bf16.decode(bytes, into: &numbers)
    case .q4_0: Self.decode(Q4_0.self, bytes, into: &numbers)
    case .q4_1: Self.decode(Q4_1.self, bytes, into: &numbers)
    case .q5_0: Self.decode(Q5_0.self, bytes, into: &numbers)
    case .q5_1: Self.decode(Q5_1.self, bytes, into: &numbers)
    case .q8_0: Self.decode(Q8_0.self, bytes, into: &numbers)
    case .q2_K: Self.decode(Q2K.self, bytes, into: &numbers)
    case .q3_K: Self.decode(Q3K.self, bytes, into: &numbers)
    case .q4_K: Self.decode(Q4K.self, bytes, into: &numbers)
    case .q5_K: Self.decode(Q5K.self, bytes, into: &numbers)
    case .q6_K: Self.decode(Q6K.self, bytes, into: &numbers)
    case .mxfp4: Self.decode(MXFP4.self, bytes, into: &numbers)
    }
  }

  private static func decode<Block: DecodableBlock>(
    _ block: Block.Type, _ bytes: RawSpan, into numbers: inout MutableSpan<Float>
  ) {
    let (width, count) = (Block.weightType.blockBytes, Block.weightType.blockLength)
    var index = 0
    for start in stride(from: 0, to: bytes.byteCount, by: width) {
      Block.decode(bytes, at: start, into: &numbers, at: index)
      index += count
    }
  }
}

extension RawSpan {
  /// The number in half precision at `offset`.
  @inline(__always)
  func half(at offset: Int) -> Float { Float(number(at: offset, as: Float16.self)) }

  /// The byte at `offset`.
  @inline(__always)
  func byte(at offset: Int) -> UInt8 { number(at: offset, as: UInt8.self) }
}

extension SIMD16<UInt8> {
  /// The bytes as numbers.
  @inline(__always)
  var floats: SIMD16<Float> { SIMD16<Float>(SIMD16<Int32>(truncatingIfNeeded: self)) }

  /// The lower four bits of each byte.
  @inline(__always)
  var low: SIMD16<UInt8> { self & 0x0F }

  /// The upper four bits of each byte.
  @inline(__always)
  var high: SIMD16<UInt8> { self &>> 4 }

  /// `value` where a bit of `mask` is set, else 0.
  @inline(__always)
  func bit(_ mask: UInt8, as value: UInt8) -> SIMD16<UInt8> {
    SIMD16<UInt8>(repeating: 0).replacing(with: value, where: (self & mask) .!= 0)
  }
}
