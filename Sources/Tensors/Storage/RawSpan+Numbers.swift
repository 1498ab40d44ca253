extension RawSpan {
  /// The little-endian number at `offset`, which need not be aligned.
  ///
  /// - Precondition: All its bytes lie within the span.
  @inlinable
  package func number<Number: PlainNumber>(at offset: Int, as type: Number.Type) -> Number {
    unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: type)
  }

  /// Sixteen bytes from `offset` on.
  ///
  /// - Precondition: They lie within the span.
  @inlinable
  package func sixteenBytes(at offset: Int) -> SIMD16<UInt8> {
    unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: SIMD16<UInt8>.self)
  }

  /// A copy of the bytes.
  package var array: [UInt8] {
    unsafe withUnsafeBytes { unsafe Array($0) }
  }
}

extension MutableSpan<Float> {
  /// Puts sixteen numbers at `index` and the places after it.
  ///
  /// - Precondition: All of them lie within the span.
  @inlinable
  @_lifetime(self: copy self)
  package mutating func store(_ numbers: SIMD16<Float>, at index: Int) {
    var bytes = unsafe mutableBytes
    bytes.storeBytes(
      of: numbers, toByteOffset: index * MemoryLayout<Float>.stride, as: SIMD16<Float>.self)
  }
}
