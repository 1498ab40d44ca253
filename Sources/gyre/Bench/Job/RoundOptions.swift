import ArgumentParser
import MPI

/// How often contestants are measured.
struct RoundOptions: ParsableArguments {
  @Option(help: "The most rounds; one more comes before them, to warm up.")
  var repeats = 25

  @Option(
    help: """
      End a comparison when the 95 % confidence interval of every median is narrower than this part \
      of it.
      """)
  var precision = 0.05

  @Option(help: "End a comparison after so many seconds, with the round.")
  var seconds = 60.0

  /// Fewer say nothing about an interval.
  private static let fewest = 5
  /// Of the line of progress in a round.
  private static let steps = 1000

  func validate() throws {
    guard (1...1000).contains(repeats) else {
      throw ValidationError("--repeats is \(repeats); give a number from 1 to 1000.")
    }
    guard precision >= 0, precision.isFinite else {
      throw ValidationError("--precision is \(precision); give a part of 1, for example 0.05.")
    }
    guard seconds > 0 else {
      throw ValidationError("--seconds is \(seconds); give more than 0.")
    }
  }

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
      let isLate = round > 0 && gyre.seconds(.now - start) >= seconds
      // Clocks differ.
      if try world.allReduce(isCertain || isLate ? 1 : 0, with: .max) == 1 {
        progress.advance(by: (repeats - round) * Self.steps)
        return
      }
    }
  }

  /// A line that ends when all comparisons have had as many rounds as they may.
  func progress(comparisons: Int, on world: borrowing Communicator) -> ProgressLine {
    ProgressLine(
      "bench", total: comparisons * (repeats + 1) * Self.steps,
      on: world.rank == 0 ? Terminal.openForProgress() : nil)
  }
}
