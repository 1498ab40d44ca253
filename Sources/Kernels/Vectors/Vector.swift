import CInstructions

#if GYRE_AVX512
  /// The vector that kernels are written in: one AVX-512 register.
  package typealias Vector = SIMD16<Float>
  /// The bits of a ``Vector``.
  typealias VectorBits = SIMD16<UInt32>
  /// As many integers.
  typealias IntegerVector = SIMD16<Int32>
#else
  /// The vector that kernels are written in: one AVX2 register, two NEON registers.
  package typealias Vector = SIMD8<Float>
  /// The bits of a ``Vector``.
  typealias VectorBits = SIMD8<UInt32>
  /// As many integers.
  typealias IntegerVector = SIMD8<Int32>
#endif

extension Vector {
  /// Lanes.
  @inline(__always) static var width: Int { scalarCount }

  /// Loads a vector from `pointer + offset`, at any alignment.
  @unsafe @inline(__always)
  init(loading pointer: UnsafePointer<Float>, at offset: Int) {
    unsafe self = UnsafeRawPointer(pointer + offset).loadUnaligned(as: Self.self)
  }

  /// Stores the vector to `pointer + offset`, at any alignment.
  @unsafe @inline(__always)
  func store(to pointer: UnsafeMutablePointer<Float>, at offset: Int) {
    unsafe UnsafeMutableRawPointer(pointer + offset).storeBytes(of: self, as: Self.self)
  }

  /// Adds the vector to the floats at `pointer + offset`, at any alignment.
  @unsafe @inline(__always)
  func add(to pointer: UnsafeMutablePointer<Float>, at offset: Int) {
    unsafe (Self(loading: pointer, at: offset) + self).store(to: pointer, at: offset)
  }

  /// One fused multiply–add, `self += a · b`.
  @inline(__always)
  mutating func addProduct(_ a: Self, _ b: Self) {
    self = addingProduct(a, b)
  }

  /// The larger of each pair of lanes; where either is NaN this one.
  ///
  /// Unlike `pointwiseMax` it is one instruction.
  @inline(__always)
  func larger(_ other: Self) -> Self {
    #if GYRE_AVX512
      gyre_larger_of_16(self, other)
    #else
      gyre_larger_of_8(self, other)
    #endif
  }
}

// Written for each width: generic SIMD code is not turned into vector instructions.

extension SIMD16<Float> {
  #if GYRE_AVX512
    /// The largest lane.
    @inline(__always)
    var largestLane: Float { gyre_largest_of_16(self) }
  #endif

  /// The sum of the lanes, by halves.
  @inline(__always)
  var laneSum: Float { (lowHalf + highHalf).laneSum }
}

extension SIMD8<Float> {
  /// The largest lane.
  @inline(__always)
  var largestLane: Float { gyre_largest_of_8(self) }

  /// The sum of the lanes, by halves.
  @inline(__always)
  var laneSum: Float {
    let half = lowHalf + highHalf
    let quarter = half.lowHalf + half.highHalf
    return quarter[0] + quarter[1]
  }
}
