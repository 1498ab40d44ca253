/// A 16-bit floating-point number with the range of `Float`: 1 sign, 8 exponent, 7 fraction bits.
///
/// It is the upper half of a `Float`, so widening is exact, and narrowing rounds to nearest, ties
/// to even. Equality and hashing compare numbers, as for `Float`: NaN is unequal to itself and −0
/// equals 0.
public struct BFloat16: BitwiseCopyable, Sendable {
  /// The bits of the number, which are the upper 16 bits of the equal `Float`.
  public var bitPattern: UInt16

  /// Creates the number with the given bits.
  @inlinable
  public init(bitPattern: UInt16) {
    self.bitPattern = bitPattern
  }

  /// Creates the number nearest to `value`, ties to even; NaN stays NaN with its sign.
  @inlinable
  public init(_ value: Float) {
    let bits = value.bitPattern
    // Half a unit in the last place, less one bit if the kept part is even: a tie then carries only
    // into an odd number. The carry of the largest finite values into the exponent is infinity.
    let rounded = bits &+ 0x7FFF &+ (bits >> 16 & 1)
    // A NaN must not be rounded: it could carry into infinity or the sign. Bit 6 makes it quiet.
    let quiet = bits | 0x0040_0000
    bitPattern = UInt16(truncatingIfNeeded: (value.isNaN ? quiet : rounded) >> 16)
  }
}

extension BFloat16: Hashable {
  /// Whether both numbers are equal as `Float`s.
  @inlinable
  public static func == (left: BFloat16, right: BFloat16) -> Bool { Float(left) == Float(right) }

  /// Feeds the equal `Float` to `hasher`.
  @inlinable
  public func hash(into hasher: inout Hasher) { Float(self).hash(into: &hasher) }
}

extension BFloat16: CustomStringConvertible {
  /// The number in decimal, as the equal `Float` is written.
  public var description: String { Float(self).description }
}

extension Float {
  /// Creates the `Float` that equals `value`; exact.
  @inlinable
  public init(_ value: BFloat16) {
    self.init(bitPattern: UInt32(value.bitPattern) << 16)
  }
}
