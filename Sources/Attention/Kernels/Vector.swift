/// The vector that the kernels are written in: one AVX2 register, two NEON registers.
package typealias Vector = SIMD8<Float>

extension SIMD8<Float> {
  /// Lanes.
  @inline(__always) static var width: Int { 8 }

  /// Loads 8 floats from `pointer + offset`, at any alignment.
  @unsafe @inline(__always)
  init(loading pointer: UnsafePointer<Float>, at offset: Int) {
    unsafe self = UnsafeRawPointer(pointer + offset).loadUnaligned(as: Self.self)
  }

  /// Stores 8 floats to `pointer + offset`, at any alignment.
  @unsafe @inline(__always)
  func store(to pointer: UnsafeMutablePointer<Float>, at offset: Int) {
    unsafe UnsafeMutableRawPointer(pointer + offset).storeBytes(of: self, as: Self.self)
  }

  /// Adds 8 floats to those at `pointer + offset`, at any alignment.
  @unsafe @inline(__always)
  func add(to pointer: UnsafeMutablePointer<Float>, at offset: Int) {
    unsafe (Self(loading: pointer, at: offset) + self).store(to: pointer, at: offset)
  }

  /// One fused multiply–add, `self += a · b`.
  @inline(__always)
  mutating func addProduct(_ a: Self, _ b: Self) {
    self = addingProduct(a, b)
  }

  /// The larger of each pair of lanes.
  ///
  /// Unlike `pointwiseMax` it is one compare and one blend, and
  /// leaves NaN out of consideration: scores are never NaN.
  @inline(__always)
  func larger(_ other: Self) -> Self {
    replacing(with: other, where: other .> self)
  }

  /// The largest lane.
  @inline(__always)
  var largestLane: Float {
    let half = lowHalf.replacing(with: highHalf, where: highHalf .> lowHalf)
    let quarter = half.lowHalf.replacing(
      with: half.highHalf, where: half.highHalf .> half.lowHalf)
    return quarter[0] > quarter[1] ? quarter[0] : quarter[1]
  }

  /// The sum of the lanes, by halves.
  @inline(__always)
  var laneSum: Float {
    let half = lowHalf + highHalf
    let quarter = half.lowHalf + half.highHalf
    return quarter[0] + quarter[1]
  }
}
