/// Box and Muller's transformation of uniform words to normal numbers, eight at a time.
///
/// Logarithm, sine and cosine are their power series, cut where the rest is below the rounding of
/// `Float`. No lane takes a branch, and products are not fused with sums, so that every processor
/// computes the same bits.
enum BoxMuller {
  /// Two independent standard-normal numbers for each pair of uniform words.
  @inline(__always)
  static func normals(
    _ first: SIMD8<UInt32>, _ second: SIMD8<UInt32>
  ) -> (SIMD8<Float>, SIMD8<Float>) {
    let radius = squareRoot(-2 * logarithmOfFraction(first))
    let (cosine, sine) = cosineAndSineOfTurn(second)
    return (radius * cosine, radius * sine)
  }

  /// ln((word + ½) / 2³²), which is at most 0.
  @inline(__always)
  private static func logarithmOfFraction(_ words: SIMD8<UInt32>) -> SIMD8<Float> {
    // The sum of two exact parts is rounded once, to at most 2³².
    let high = float(small: words &>> 16) * 65536
    let bits = (high + (float(small: words & 0xFFFF) + 0.5)).bits
    // 2ᵉ · m with m in [√½, √2): less the bits of √½, the exponent field is the e of that m, and
    // negative for ½, the least sum.
    let offset = bits &- 0x3F35_04F3
    let exponent = SIMD8<Int32>(truncatingIfNeeded: offset) &>> 23 &- 32
    let mantissa = SIMD8<Float>(bits: (offset & 0x007F_FFFF) &+ 0x3F35_04F3)
    // ln m = 2 artanh s, s = (m − 1) / (m + 1), |s| < 0.172: the term after s⁹ is below 1e-9.
    let s = (mantissa - 1) / (mantissa + 1)
    let t = s * s
    let series = polynomial(t, 1, 1 / 3, 1 / 5, 1 / 7, 1 / 9)
    return float(small: SIMD8(truncatingIfNeeded: exponent)) * 0.693_147_18 + 2 * s * series
  }

  /// The cosine and the sine of 2π · word / 2³².
  @inline(__always)
  private static func cosineAndSineOfTurn(
    _ words: SIMD8<UInt32>
  ) -> (SIMD8<Float>, SIMD8<Float>) {
    // The nearest quarter turn, and what remains: a signed fraction of a quarter in [−½, ½).
    let quarters = (words &+ 0x2000_0000) &>> 30
    let turned = words &<< 2
    let high = SIMD8<Int32>(truncatingIfNeeded: turned) &>> 16
    let rest = float(small: SIMD8(truncatingIfNeeded: high)) * 65536 + float(small: turned & 0xFFFF)
    // π/2 / 2³², so that |x| ≤ π/4 and the terms after x⁹ and x¹⁰ are below 2e-9.
    let x = rest * (1.570_796_3 / 4_294_967_296)
    let y = x * x
    let sine = x * polynomial(y, 1, -1 / 6, 1 / 120, -1 / 5040, 1 / 362_880)
    let cosine = 1 + y * polynomial(y, -1 / 2, 1 / 24, -1 / 720, 1 / 40320, -1 / 3_628_800)
    // An odd number of quarters exchanges the two; the signs are cos − − + and sin + − −.
    let isOdd = 0 &- (quarters & 1)
    let difference = (cosine.bits ^ sine.bits) & isOdd
    let cosineSign = ((quarters &+ 1) & 2) &<< 30
    let sineSign = (quarters & 2) &<< 30
    return (
      SIMD8<Float>(bits: cosine.bits ^ difference ^ cosineSign),
      SIMD8<Float>(bits: sine.bits ^ difference ^ sineSign)
    )
  }

  /// √x for x ≥ 0, to about one unit in the last place; exact 0 for 0.
  ///
  /// The standard library's square root of a vector takes the lanes one by one.
  @inline(__always)
  private static func squareRoot(_ x: SIMD8<Float>) -> SIMD8<Float> {
    // 1/√x to 4 % by halving the exponent in the bits; each of Newton's steps squares the error.
    var inverse = SIMD8<Float>(bits: 0x5F37_59DF &- (x.bits &>> 1))
    for _ in 0..<3 {
      inverse *= 1.5 - (0.5 * x * inverse) * inverse
    }
    return x * inverse
  }

  /// Whole numbers of magnitude up to 2²², as floats: they are added to the fraction of 1.5 · 2²³.
  ///
  /// The standard library's conversion takes the lanes one by one.
  @inline(__always)
  private static func float(small numbers: SIMD8<UInt32>) -> SIMD8<Float> {
    SIMD8<Float>(bits: numbers &+ 0x4B40_0000) - 12_582_912
  }

  /// c0 + c1·x + … + c4·x⁴ by Horner's rule.
  @inline(__always)
  private static func polynomial(
    _ x: SIMD8<Float>, _ c0: Float, _ c1: Float, _ c2: Float, _ c3: Float, _ c4: Float
  ) -> SIMD8<Float> {
    var sum = c3 + x * c4
    sum = c2 + x * sum
    sum = c1 + x * sum
    return c0 + x * sum
  }
}

extension SIMD8<Float> {
  @inline(__always)
  fileprivate init(bits: SIMD8<UInt32>) {
    self = unsafe unsafeBitCast(bits, to: SIMD8<Float>.self)
  }

  @inline(__always)
  fileprivate var bits: SIMD8<UInt32> { unsafe unsafeBitCast(self, to: SIMD8<UInt32>.self) }
}
