import Reporting

/// What repeated measurements of one thing gave, in their order.
struct Samples {
  private(set) var values: [Double] = []

  mutating func append(_ value: Double) { values.append(value) }

  var median: Double { quantile(2) }

  /// From the first to the third quartile, as a fraction of the median.
  var spread: Double { (quantile(3) - quantile(1)) / median }

  /// The confidence interval of the median, at 95 % or as near as so few samples allow: between two
  /// of the samples, whatever their distribution.
  ///
  /// Of n samples the median lies below the k-th smallest with the probability that fewer than k of
  /// n tosses of a coin are heads. Up to five samples it is their whole range: 94 % for five.
  var interval: ClosedRange<Double> {
    let sorted = values.sorted()
    var probability = 1.0  // of exactly k heads, times 2ⁿ
    var below = 0.0
    var k = 0
    let total = Double(sign: .plus, exponent: sorted.count, significand: 1)
    while 2 * (below + probability) / total <= 0.05 {
      below += probability
      probability *= Double(sorted.count - k) / Double(k + 1)
      k += 1
    }
    let first = max(0, k - 1)
    return sorted[first]...sorted[sorted.count - 1 - first]
  }

  /// The width of the confidence interval as a fraction of the median.
  var uncertainty: Double { (interval.upperBound - interval.lowerBound) / median }

  private func quantile(_ quarters: Int) -> Double {
    values.sorted()[values.count * quarters / 4]
  }

  /// The median of the quotients of neighbours in time, which a machine whose speed drifts changes
  /// less than the quotient of the medians.
  ///
  /// - Parameter other: measured in the same rounds.
  func medianRatio(to other: Samples) -> Double { ratios(to: other).median }

  /// The quotients of neighbours in time.
  func ratios(to other: Samples) -> Samples {
    Samples(values: zip(values, other.values).map { $0 / $1 })
  }
}

/// Spreads of measurements, as fractions of their medians.
package enum Spread {
  /// From here on something else has changed the times than what is measured.
  private static let large = 0.25

  /// What people should be told of the largest of them; nil if it is small.
  package static func remark(_ spreads: [Double]) -> String? {
    guard let largest = spreads.max(), largest > large else { return nil }
    return
      "A spread of \(percent(largest)): half of the rounds lie that far apart, so something else "
      + "was "
      + "at work than what is measured, such as other programs or threads without a core; measure "
      + "again when that is over, with more --repeats."
  }
}
