import MPI
import Reporting

/// How often contestants are measured.
package struct Rounds {
  /// The most that count; one more comes before them, to warm up.
  package let repeats: Int
  /// A comparison is over when the confidence interval of every median is narrower than this part of
  /// it.
  package let precision: Double
  /// A comparison is over after so many seconds, with the round.
  package let seconds: Double

  package init(repeats: Int, precision: Double, seconds: Double) {
    self.repeats = repeats
    self.precision = precision
    self.seconds = seconds
  }

  /// Fewer say nothing about an interval.
  private static let fewest = 5
  /// Of the line of progress in a round.
  private static let steps = 1000

  /// Measures contestants in turn, called by all ranks together, until their medians are certain or a
  /// bound is reached.
  func run(
    _ contestants: [Contestant], progress: inout ProgressLine, on world: borrowing Communicator
  ) throws {
    let start = ContinuousClock.now
    let weight = contestants.reduce(0) { $0 + $1.weight }
    let steps = contestants.map { Int(Double(Self.steps) * $0.weight / weight) }
    // The first round warms caches, threads and connections up and is not counted.
    for round in 0...repeats {
      for (contestant, steps) in zip(contestants, steps) {
        try contestant.measure(isCounted: round > 0, on: world)
        progress.advance(by: steps)
      }
      let isCertain =
        round >= Self.fewest && contestants.allSatisfy { $0.seconds.uncertainty <= precision }
      let isLate = round > 0 && (ContinuousClock.now - start).inSeconds >= seconds
      // Clocks differ.
      if try world.allReduce(isCertain || isLate ? 1 : 0, with: .max) == 1 {
        progress.advance(by: (repeats - round) * Self.steps)
        return
      }
    }
  }

  /// A line that ends when all comparisons have had as many rounds as they may.
  func progress(comparisons: Int, on terminal: Int32?) -> ProgressLine {
    ProgressLine("bench", total: comparisons * (repeats + 1) * Self.steps, on: terminal)
  }
}
