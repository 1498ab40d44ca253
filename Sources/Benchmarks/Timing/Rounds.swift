/// How often contestants are measured, and how long.
package struct Rounds {
  /// The most that count; one more comes before them, to warm up.
  let repeats: Int
  /// A comparison is over when the confidence interval of every median is narrower than this part
  /// of it.
  let precision: Double
  /// What all comparisons may take together; nil for a minute each.
  private let seconds: Double?

  package init(repeats: Int, precision: Double, seconds: Double?) {
    self.repeats = repeats
    self.precision = precision
    self.seconds = seconds
  }

  /// Fewer say nothing about an interval.
  static let fewest = 5

  /// What so many comparisons may take together.
  func seconds(comparisons: Int) -> Double { seconds ?? 60 * Double(comparisons) }
}
