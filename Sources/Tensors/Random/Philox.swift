/// The counter-based random generator Philox4x32-10, for eight consecutive counters at a time.
///
/// Source: Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", section
/// 3.3. It passes the BigCrush tests, and its output is a pure function of counter and key.
package enum Philox {
  /// Four words for each of eight counters; `words[i]` holds word i of all eight.
  package typealias Block = (SIMD8<UInt32>, SIMD8<UInt32>, SIMD8<UInt32>, SIMD8<UInt32>)

  /// Ten rounds over eight counters of four words each, all with the same key of two words.
  @inline(__always)
  package static func block(counters: Block, key: (UInt32, UInt32)) -> Block {
    var (x0, x1, x2, x3) = counters
    var (key0, key1) = key
    for _ in 0..<10 {
      let (high0, low0) = multiplied(x0, by: 0xD251_1F53)
      let (high1, low1) = multiplied(x2, by: 0xCD9E_8D57)
      (x0, x1, x2, x3) = (high1 ^ x1 ^ key0, low1, high0 ^ x3 ^ key1, low0)
      // Weyl sequences: the golden ratio and √3 − 1, as fractions of 2³².
      key0 &+= 0x9E37_79B9
      key1 &+= 0xBB67_AE85
    }
    return (x0, x1, x2, x3)
  }

  /// The upper and the lower halves of eight 64-bit products.
  @inline(__always)
  private static func multiplied(
    _ words: SIMD8<UInt32>, by factor: UInt64
  ) -> (high: SIMD8<UInt32>, low: SIMD8<UInt32>) {
    // Even and odd lanes apart, as the multiplication of processors takes them.
    let lowerHalf: UInt64 = 0xFFFF_FFFF
    let pairs = unsafe unsafeBitCast(words, to: SIMD4<UInt64>.self)
    let even = (pairs & lowerHalf) &* factor
    let odd = (pairs &>> 32) &* factor
    let high = (even &>> 32) | (odd & ~lowerHalf)
    let low = (even & lowerHalf) | (odd &<< 32)
    return unsafe (
      unsafeBitCast(high, to: SIMD8<UInt32>.self), unsafeBitCast(low, to: SIMD8<UInt32>.self)
    )
  }
}
