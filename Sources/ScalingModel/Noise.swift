/// Random factors of mean 1 that are the same in every run of a prediction.
struct Noise {
  private let deviation: Double
  private var state: UInt64 = 0x9E37_79B9_7F4A_7C15

  /// - Parameter deviation: standard deviation of a factor.
  init(deviation: Double) {
    self.deviation = deviation
  }

  /// The next factor, on the time of so many visits together: the sum of four uniform numbers,
  /// nearly normal, and never below 0.1.
  ///
  /// Source of the generator: Marsaglia 2003, Xorshift RNGs.
  mutating func next(visits: Int) -> Double {
    if deviation == 0 { return 1 }
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    var sum = 0.0
    for part in 0..<4 {
      sum += Double((state >> UInt64(16 * part)) & 0xFFFF) / 65535 - 0.5
    }
    // The variance of a uniform number is 1/12, of four a third.
    return max(0.1, 1 + deviation * sum * (3 / Double(visits)).squareRoot())
  }
}
