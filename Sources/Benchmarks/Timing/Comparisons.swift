import MPI
import Reporting

/// The comparisons of a command, one after the other, in the time that it has; made by all ranks of
/// the job together.
///
/// What is left of the time is divided alike among those that are left. One that has begun has a
/// round that counts, however long that takes; those for which nothing is left are left out.
struct Comparisons: ~Copyable {
  private let name: String
  private let rounds: Rounds
  /// About how long a round of each takes.
  private let roundSeconds: [Double]
  /// Nil on ranks that say nothing.
  private let place: ProgressPlace?
  private let seconds: Double
  private let start = ContinuousClock.now
  private var progress: ProgressLine
  private var begun = 0

  /// Of the progress in a round.
  private static let steps = 1000

  /// - Parameters:
  ///   - name: of the benchmark.
  ///   - roundSeconds: about how long a round of each comparison takes.
  ///   - place: where somebody watches; nil on all ranks but one.
  init(_ name: String, _ rounds: Rounds, roundSeconds: [Double], on place: ProgressPlace?) {
    self.name = name
    self.rounds = rounds
    self.roundSeconds = roundSeconds
    self.place = place
    seconds = rounds.seconds(comparisons: roundSeconds.count)
    progress = ProgressLine(
      "bench \(name)", total: roundSeconds.count * (rounds.repeats + 1) * Self.steps,
      seconds: seconds, on: place)
  }

  /// Whether there is time for one more, called by all ranks together.
  func hasTime(on world: borrowing Communicator) throws -> Bool {
    // Clocks differ.
    try begun == 0 || world.broadcast(elapsed < seconds ? 1 : 0, from: 0) == 1
  }

  /// Measures contestants in turn, called by all ranks together, until their medians are certain or
  /// a bound is reached.
  mutating func run(_ contestants: [Contestant], on world: borrowing Communicator) throws {
    if begun == 0, place != nil { printError("gyre: \(announcement)") }
    let share = (seconds - elapsed) / Double(roundSeconds.count - begun)
    begun += 1
    let start = ContinuousClock.now
    let weight = contestants.reduce(0) { $0 + $1.weight }
    let steps = contestants.map { Int(Double(Self.steps) * $0.weight / weight) }
    // The first round warms caches, threads and connections up and is not counted.
    for round in 0...rounds.repeats {
      let roundStart = ContinuousClock.now
      for (contestant, steps) in zip(contestants, steps) {
        try contestant.measure(isCounted: round > 0, on: world)
        progress.advance(by: steps)
      }
      let isCertain =
        round >= Rounds.fewest
        && contestants.allSatisfy { $0.seconds.uncertainty <= rounds.precision }
      let now = ContinuousClock.now
      // Another round would end past the bound.
      let isLate = round > 0 && (now - start + (now - roundStart)).inSeconds > share
      if try world.allReduce(isCertain || isLate ? 1 : 0, with: .max) == 1 {
        progress.advance(by: (rounds.repeats - round) * Self.steps)
        break
      }
    }
    progress.clear()
  }

  /// Says what time has not sufficed for, if anything.
  func finish() {
    let missing = roundSeconds.count - begun
    guard missing > 0, place != nil else { return }
    printError(
      "gyre: bench \(name): the \(formatSeconds(seconds)) of --seconds were over before "
        + "\(missing) of \(counted(roundSeconds.count, "comparison")); give more --seconds, or "
        + "fewer combinations.")
  }

  private var elapsed: Double { (ContinuousClock.now - start).inSeconds }

  /// What is about to be measured, and how long it may take.
  private var announcement: String {
    let all = roundSeconds.reduce(0, +)
    let longest = min(seconds, all * Double(rounds.repeats + 1))
    let least = min(longest, all * Double(min(rounds.repeats, Rounds.fewest) + 1))
    let time =
      longest < 1.5 * least || longest < 1
      ? aboutSeconds(longest)
      : "\(aboutSeconds(least)) if times vary little, \(aboutSeconds(longest)) if they do not"
    return "bench \(name): \(counted(roundSeconds.count, "comparison")) of up to "
      + "\(counted(rounds.repeats + 1, "round")), \(time)."
  }
}

/// A duration that is only estimated: `about 12 s`, `less than a second`.
func aboutSeconds(_ value: Double) -> String {
  value < 1 ? "less than a second" : "about \(formatSeconds(value.rounded()))"
}
