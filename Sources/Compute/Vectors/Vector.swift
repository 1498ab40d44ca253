/// The vector that score rules and plain loops are written in: one AVX2 register, two NEON
/// registers.
///
/// Kernels have their own, which is as wide as the registers of the instruction set that they are
/// compiled for.
public typealias Vector = SIMD8<Float>

extension Vector {
  /// The number of each lane.
  @inlinable @inline(__always)
  public static var lanes: Self { Self(0, 1, 2, 3, 4, 5, 6, 7) }

  /// Lanes.
  @inlinable @inline(__always) public static var width: Int { scalarCount }

  /// Loads a vector from `pointer + offset`, at any alignment.
  @unsafe @inlinable @inline(__always)
  public init(loading pointer: UnsafePointer<Float>, at offset: Int) {
    unsafe self = UnsafeRawPointer(pointer + offset).loadUnaligned(as: Self.self)
  }

  /// Stores the vector to `pointer + offset`, at any alignment.
  @unsafe @inlinable @inline(__always)
  public func store(to pointer: UnsafeMutablePointer<Float>, at offset: Int) {
    unsafe UnsafeMutableRawPointer(pointer + offset).storeBytes(of: self, as: Self.self)
  }

  /// Adds the vector to the floats at `pointer + offset`, at any alignment.
  @unsafe @inlinable @inline(__always)
  public func add(to pointer: UnsafeMutablePointer<Float>, at offset: Int) {
    unsafe (Self(loading: pointer, at: offset) + self).store(to: pointer, at: offset)
  }

  /// The lanes without their signs.
  @inlinable @inline(__always)
  public var magnitude: Self {
    let bits =
      unsafe unsafeBitCast(self, to: SIMD8<UInt32>.self) & SIMD8<UInt32>(repeating: 0x7FFF_FFFF)
    return unsafe unsafeBitCast(bits, to: Self.self)
  }

  /// One fused multiply–add, `self += a · b`.
  @inlinable @inline(__always)
  public mutating func addProduct(_ a: Self, _ b: Self) {
    self = addingProduct(a, b)
  }

  /// The sum of the lanes, by halves.
  @inlinable @inline(__always)
  public var laneSum: Float {
    let half = lowHalf + highHalf
    let quarter = half.lowHalf + half.highHalf
    return quarter[0] + quarter[1]
  }
}
