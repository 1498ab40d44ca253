/// What repeated measurements of one thing gave, in their order.
struct Samples {
  private(set) var values: [Double] = []

  mutating func append(_ value: Double) { values.append(value) }

  var median: Double { quantile(2) }

  /// From the first to the third quartile, as a fraction of the median.
  var spread: Double { (quantile(3) - quantile(1)) / median }

  private func quantile(_ quarters: Int) -> Double {
    values.sorted()[values.count * quarters / 4]
  }

  /// The median of the quotients of neighbours in time, which a machine whose speed drifts changes
  /// less than the quotient of the medians.
  ///
  /// - Parameter other: measured in the same rounds.
  func medianRatio(to other: Samples) -> Double {
    Samples(values: zip(values, other.values).map { $0 / $1 }).median
  }
}
