import ArgumentParser
import FoundationEssentials
import Plots
import Reporting
import Results
import Settings

/// `gyre plot`: results files as figures.
struct PlotCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plot",
    abstract: "Draws results files with gnuplot.",
    discussion: """
      What is drawn follows from the benchmark: strong and weak scaling, overlap, the kernel's \
      roofline, dilated attention against the number of tokens, memory, links, predictions, \
      perplexity against context. \
      Several files of one benchmark become several series, named by what differs between them.
      """)

  @Argument(help: "What gyre bench … or gyre predict … --format json or jsonl has written.")
  var results: [String]

  @Option(help: "The picture's file; it ends in .svg, .png or .pdf.")
  var output: String

  @Option(help: "What to draw. (default: as the benchmark; of kernel its roofline)")
  var kind: PlotKind?

  @Flag(help: "Keep data and script beside the picture, as NAME.csv and NAME.gp.")
  var keep = false

  @Option(help: "A title instead of the usual one.")
  var title: String?

  @Flag(help: "On a dark background.")
  var dark = false

  @OptionGroup var overwriting: OverwriteOptions

  @OptionGroup(title: "Settings")
  var layers: SettingsOptions

  func validate() throws {
    _ = try asOption { try Picture(output) }
  }

  func run() throws {
    var runFiles = RunFiles(settings: layers)
    for path in results { try runFiles.read(path, as: "the results file") }
    let picture = try Picture(output).prepared(keep: keep) {
      try runFiles.write($0, as: "--output", existing: overwriting.existing)
    }
    let files = try results.map { try ResultsFile(reading: $0) }
    let kind = try chosenKind(files)
    var figure = try kind.figure(PlotRows(files, benchmark: kind.benchmark))
    figure.subtitle = files.place
    if let title { figure.title = title }
    try picture.draw(GnuplotScript(figure, theme: dark ? .dark : .light))
    for file in files where file.replaced > 0 {
      printError(
        "gyre: of rows of \(file.path) that are measured again further down "
          + "(\(file.replaced)), the last is drawn.")
    }
  }

  /// - Throws: where it is not clear, or the files have nothing of that kind.
  private func chosenKind(_ files: [ResultsFile]) throws -> PlotKind {
    let benchmarks = Set(files.flatMap(\.rows).map(\.benchmark)).sorted()
    let list = benchmarks.joined(separator: ", ")
    if let kind {
      guard benchmarks.contains(kind.benchmark) else {
        throw ValidationError(
          "--kind \(kind.rawValue) draws results of gyre bench \(kind.benchmark), "
            + "and the files have those of \(list); leave --kind out.")
      }
      return kind
    }
    guard benchmarks.count == 1 else {
      throw ValidationError("the files have results of \(list); choose one with --kind.")
    }
    guard let kind = PlotKind(benchmark: benchmarks[0]) else {
      throw ValidationError(
        "there is no figure for the benchmark \(list); "
          + "those of \(PlotKind.allCases.map(\.rawValue).joined(separator: ", ")) can be drawn.")
    }
    return kind
  }
}
