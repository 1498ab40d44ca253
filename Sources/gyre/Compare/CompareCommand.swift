import ArgumentParser
import Benchmarks
import Reporting
import Results
import Settings

/// `gyre compare`: what got slower or faster between two results files.
struct CompareCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compare",
    abstract: "What got slower or faster between two results files, beyond noise.",
    discussion: """
      Both are written by gyre bench … --format json or jsonl. Rows that measure the same are \
      compared; the ratio of their medians has an interval from both confidence intervals. The \
      exit code is 1 if a row is slower past the threshold, 64 where nothing can be compared.
      """)

  @Argument(help: "Results before the change.")
  var before: String

  @Argument(help: "Results after the change.")
  var after: String

  @Option(help: "The slowdown past which a row is a regression, as a fraction.")
  var threshold = 0.05

  @Option(help: "The change below which a row counts as the same, as a fraction.")
  var noise = 0.02

  @Option(help: "A table, one JSON object, or rows for other programs.")
  var format = TableFormat.text

  @OptionGroup(title: "Settings")
  var layers: SettingsOptions

  func validate() throws {
    for (name, value) in [("--threshold", threshold), ("--noise", noise)] {
      guard value >= 0, value.isFinite else {
        throw ValidationError("\(name) is \(value); give a fraction such as 0.05.")
      }
    }
  }

  func run() throws {
    var files = RunFiles(settings: layers)
    try files.read(before, as: "the results file")
    try files.read(after, as: "the results file")
    let comparison = try Comparison(
      ResultsFile(reading: before), ResultsFile(reading: after), noise: noise,
      threshold: threshold)
    try printReport(comparison.formatted(format))
    if let sentence = comparison.regressionSentence {
      printError("gyre: \(sentence)")
      throw ExitCode(1)
    }
  }
}
