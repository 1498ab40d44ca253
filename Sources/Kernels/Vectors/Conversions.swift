import CInstructions

extension Vector {
  /// Widens neighbouring numbers of half precision, at any alignment.
  @unsafe @inline(__always)
  init(halves: UnsafeRawPointer) {
    #if GYRE_AVX512
      unsafe self = gyre_widen_halves(halves)
    #else
      unsafe self = gyre_widen_8_halves(halves)
    #endif
  }

  /// Widens neighbouring bytes with a sign.
  @unsafe @inline(__always)
  init(bytes: UnsafeRawPointer) {
    #if GYRE_AVX512
      unsafe self = gyre_widen_bytes(bytes)
    #else
      unsafe self = gyre_widen_8_bytes(bytes)
    #endif
  }

  /// The nearest floats.
  @inline(__always)
  init(integers: IntegerVector) {
    #if GYRE_AVX512
      self = gyre_floats_of_integers_16(integers)
    #else
      self = gyre_floats_of_integers_8(integers)
    #endif
  }
}

extension VectorBits {
  /// Widens neighbouring integers of 16 bits, at any alignment.
  @unsafe @inline(__always)
  init(shorts: UnsafeRawPointer) {
    #if GYRE_AVX512
      unsafe self = gyre_words_of_16_shorts(shorts)
    #else
      unsafe self = gyre_words_of_8_shorts(shorts)
    #endif
  }

  /// Stores the lowest byte of each lane.
  @unsafe @inline(__always)
  func storeLowBytes(to bytes: UnsafeMutableRawPointer) {
    #if GYRE_AVX512
      unsafe gyre_store_low_bytes_16(self, bytes)
    #else
      unsafe gyre_store_low_bytes_8(self, bytes)
    #endif
  }
}
