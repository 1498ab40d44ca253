// Conversions between `Float` and the element types, eight elements at a time: one instruction for
// binary16 where the processor has F16C, two or three integer instructions for bfloat16. A tail of
// fewer than eight elements goes one at a time through the scalar initializers.

#if !_endian(little)
  #error("Files and messages hold little-endian elements, which are read without swapping bytes")
#endif

extension ElementType {
  /// Widens elements of this type to `Float`; exact.
  ///
  /// - Parameters:
  ///   - bytes: The elements, little-endian, one after the other; any alignment.
  ///   - numbers: Where the numbers go, one for each element.
  /// - Precondition: `bytes` holds `numbers.count` elements.
  /// - Complexity: O(`numbers.count`), at the speed of memory.
  public func decode(_ bytes: RawSpan, into numbers: inout MutableSpan<Float>) {
    precondition(
      bytes.byteCount == numbers.count * byteWidth,
      "\(bytes.byteCount) bytes are not \(numbers.count) elements of type \(self)")
    let count = numbers.count
    var output = unsafe numbers.mutableBytes
    switch self {
    case .f32:
      for start in stride(from: 0, to: 4 * count & ~31, by: 32) {
        let part = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: start, as: SIMD8<Float>.self)
        output.storeBytes(of: part, toByteOffset: start, as: SIMD8<Float>.self)
      }
    case .f16:
      for start in stride(from: 0, to: 2 * count & ~15, by: 16) {
        let part = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: start, as: SIMD8<Float16>.self)
        output.storeBytes(of: SIMD8<Float>(part), toByteOffset: 2 * start, as: SIMD8<Float>.self)
      }
    case .bf16:
      for start in stride(from: 0, to: 2 * count & ~15, by: 16) {
        let part = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: start, as: SIMD8<UInt16>.self)
        let bits = SIMD8<UInt32>(truncatingIfNeeded: part) &<< 16
        output.storeBytes(of: bits, toByteOffset: 2 * start, as: SIMD8<UInt32>.self)
      }
    }
    for index in (count & ~7)..<count {
      let start = index * byteWidth
      numbers[index] =
        switch self {
        case .f32: unsafe bytes.unsafeLoadUnaligned(fromByteOffset: start, as: Float.self)
        case .f16: Float(unsafe bytes.unsafeLoadUnaligned(fromByteOffset: start, as: Float16.self))
        case .bf16:
          Float(unsafe bytes.unsafeLoadUnaligned(fromByteOffset: start, as: BFloat16.self))
        }
    }
  }

  /// Narrows `Float`s to elements of this type: to nearest, ties to even; beyond range, infinity.
  ///
  /// A NaN stays a NaN.
  ///
  /// - Parameters:
  ///   - numbers: The numbers.
  ///   - bytes: Where the elements go, little-endian, one after the other; any alignment.
  /// - Precondition: `bytes` has room for exactly `numbers.count` elements.
  /// - Complexity: O(`numbers.count`), at the speed of memory.
  public func encode(_ numbers: Span<Float>, into bytes: inout MutableRawSpan) {
    precondition(
      bytes.byteCount == numbers.count * byteWidth,
      "\(bytes.byteCount) bytes have no room for \(numbers.count) elements of type \(self)")
    let count = numbers.count
    let input = unsafe numbers.bytes
    switch self {
    case .f32:
      for start in stride(from: 0, to: 4 * count & ~31, by: 32) {
        let part = unsafe input.unsafeLoadUnaligned(fromByteOffset: start, as: SIMD8<Float>.self)
        bytes.storeBytes(of: part, toByteOffset: start, as: SIMD8<Float>.self)
      }
    case .f16:
      for start in stride(from: 0, to: 4 * count & ~31, by: 32) {
        let part = unsafe input.unsafeLoadUnaligned(fromByteOffset: start, as: SIMD8<Float>.self)
        bytes.storeBytes(
          of: SIMD8<Float16>(part), toByteOffset: start / 2, as: SIMD8<Float16>.self)
      }
    case .bf16:
      for start in stride(from: 0, to: 4 * count & ~31, by: 32) {
        let part = unsafe input.unsafeLoadUnaligned(fromByteOffset: start, as: SIMD8<UInt32>.self)
        bytes.storeBytes(
          of: Self.bfloat16Bits(part), toByteOffset: start / 2, as: SIMD8<UInt16>.self)
      }
    }
    for index in (count & ~7)..<count {
      let start = index * byteWidth
      switch self {
      case .f32: bytes.storeBytes(of: numbers[index], toByteOffset: start, as: Float.self)
      case .f16:
        bytes.storeBytes(of: Float16(numbers[index]), toByteOffset: start, as: Float16.self)
      case .bf16:
        bytes.storeBytes(of: BFloat16(numbers[index]), toByteOffset: start, as: BFloat16.self)
      }
    }
  }

  /// What `BFloat16.init(_: Float)` does, for eight bit patterns of `Float`.
  @inline(__always)
  private static func bfloat16Bits(_ bits: SIMD8<UInt32>) -> SIMD8<UInt16> {
    let rounded = bits &+ 0x7FFF &+ ((bits &>> 16) & 1)
    // All ones where the magnitude exceeds infinity's. Comparing lanes would be scalar code.
    let excess = SIMD8<Int32>(truncatingIfNeeded: 0x7F80_0000 &- (bits & 0x7FFF_FFFF))
    let isNaN = SIMD8<UInt32>(truncatingIfNeeded: excess &>> 31)
    let kept = (rounded & ~isNaN) | ((bits | 0x0040_0000) & isNaN)
    return SIMD8<UInt16>(truncatingIfNeeded: kept &>> 16)
  }
}

/// Widens binary16 numbers to `Float`; exact.
///
/// - Precondition: Both spans have the same count.
/// - Complexity: O(`source.count`).
public func convert(_ source: Span<Float16>, to destination: inout MutableSpan<Float>) {
  ElementType.f16.decode(unsafe source.bytes, into: &destination)
}

/// Widens bfloat16 numbers to `Float`; exact.
///
/// - Precondition: Both spans have the same count.
/// - Complexity: O(`source.count`).
public func convert(_ source: Span<BFloat16>, to destination: inout MutableSpan<Float>) {
  ElementType.bf16.decode(unsafe source.bytes, into: &destination)
}

/// Narrows `Float`s to binary16, to nearest, ties to even; infinity beyond ±65519.99.
///
/// - Precondition: Both spans have the same count.
/// - Complexity: O(`source.count`).
public func convert(_ source: Span<Float>, to destination: inout MutableSpan<Float16>) {
  var bytes = unsafe destination.mutableBytes
  ElementType.f16.encode(source, into: &bytes)
}

/// Narrows `Float`s to bfloat16, to nearest, ties to even.
///
/// - Precondition: Both spans have the same count.
/// - Complexity: O(`source.count`).
public func convert(_ source: Span<Float>, to destination: inout MutableSpan<BFloat16>) {
  var bytes = unsafe destination.mutableBytes
  ElementType.bf16.encode(source, into: &bytes)
}
