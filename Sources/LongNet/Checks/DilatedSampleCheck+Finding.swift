extension DilatedSampleCheck {
  /// What has been compared, so far or in all: two of different rows add up.
  public struct Finding: Hashable, Sendable, Codable {
    /// Rows that were compared, each with all of its heads.
    public var rows = 0
    /// The largest magnitude and difference of outputs.
    var output = Error()
    /// The largest magnitude and difference of log-sum-exps.
    var logSumExp = Error()
    var largestScore = 0.0

    struct Error: Hashable, Codable {
      var magnitude = 0.0
      var difference = 0.0

      mutating func add(_ actual: Double, _ expected: Double) {
        if expected.isFinite { magnitude = max(magnitude, abs(expected)) }
        if actual == expected { return }
        // The largest number stands for what no number can: JSON has no infinity.
        let isFinite = actual.isFinite && expected.isFinite
        difference = max(
          difference, isFinite ? abs(actual - expected) : .greatestFiniteMagnitude)
      }

      mutating func add(_ other: Error) {
        magnitude = max(magnitude, other.magnitude)
        difference = max(difference, other.difference)
      }

      var value: Double { difference / (1 + magnitude) }
    }

    /// Nothing compared.
    public init() {}

    /// The largest difference in `o`, relative to `1 + max|closed form|`, or in `lse`.
    public var maxError: Double { max(output.value, logSumExp.difference) }
    /// The largest error that is put down to arithmetic in single precision.
    public var tolerance: Double { 1e-5 + 4 * 0x1p-24 * largestScore }
    /// Whether the result is what it should be.
    public var holds: Bool { maxError <= tolerance }

    /// Takes in what was found elsewhere.
    public mutating func add(_ other: Finding) {
      rows += other.rows
      output.add(other.output)
      logSumExp.add(other.logSumExp)
      largestScore = max(largestScore, other.largestScore)
    }
  }
}
