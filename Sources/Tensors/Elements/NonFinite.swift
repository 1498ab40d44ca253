extension Span where Element == Float {
  /// The index of the first NaN or infinity, or nil if all elements are finite numbers.
  ///
  /// - Complexity: O(`count`), at the speed of memory: 64 elements for each branch.
  public var firstNonFiniteIndex: Int? {
    let bytes = unsafe self.bytes
    let blockEnd = count & ~63
    var index = 0
    // All exponent bits set is NaN or infinity: one more in the exponent then carries into bit 31.
    while index < blockEnd {
      var carries = SIMD8<UInt32>()
      for part in 0..<8 {
        let bits = unsafe bytes.unsafeLoadUnaligned(
          fromByteOffset: 4 * index + 32 * part, as: SIMD8<UInt32>.self)
        carries |= (bits & 0x7FFF_FFFF) &+ 0x0080_0000
      }
      if carries.max() >= 0x8000_0000 { break }
      index += 64
    }
    while index < count {
      if !self[index].isFinite { return index }
      index += 1
    }
    return nil
  }
}
