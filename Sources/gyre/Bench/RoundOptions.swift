import ArgumentParser
import Benchmarks

/// How often contestants are measured.
struct RoundOptions: ParsableArguments {
  @Option(help: "The most rounds; one more comes before them, to warm up.")
  var repeats = 25

  @Option(
    help: """
      End a comparison when the 95 % confidence interval of every median is narrower than this \
      part of it.
      """)
  var precision = 0.05

  @Option(
    help: """
      The seconds that the whole command may take. Comparisons share them alike, each gets a round \
      that counts, and those that nothing is left for are left out. (default: 60 for each \
      comparison)
      """)
  var seconds: Double?

  func validate() throws {
    guard (1...1000).contains(repeats) else {
      throw ValidationError("--repeats is \(repeats); give a number from 1 to 1000.")
    }
    guard precision >= 0, precision.isFinite else {
      throw ValidationError("--precision is \(precision); give a part of 1, for example 0.05.")
    }
    if let seconds, !(seconds > 0 && seconds.isFinite) {
      throw ValidationError("--seconds is \(seconds); give more than 0.")
    }
  }

  /// What they come to.
  var rounds: Rounds { Rounds(repeats: repeats, precision: precision, seconds: seconds) }
}
