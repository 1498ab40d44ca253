import ArgumentParser
import FoundationEssentials

/// `gyre plot`: results files as figures.
struct PlotCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plot",
    abstract: "Draws results files with gnuplot.",
    discussion: """
      What is drawn follows from the benchmark: strong and weak scaling, overlap, the kernel's \
      roofline, dilated attention against the number of tokens, memory, links. Several files of \
      one benchmark become several series, named by what differs between them.
      """)

  @Argument(help: "What gyre bench … --format json or jsonl has written.")
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

  func validate() throws {
    guard PictureFormat(fileName: output) != nil, !fileName.isEmpty else {
      throw ValidationError(
        "--output is \(output); give a file name that ends in .svg, .png or .pdf.")
    }
    guard !output.contains(where: \.isNewline) else {
      throw ValidationError("--output has an end of line in it; give another name.")
    }
  }

  func run() throws {
    let files = try results.map { try ResultsFile(reading: $0) }
    let kind = try chosenKind(files)
    var figure = try kind.figure(PlotRows(files, benchmark: kind.benchmark))
    figure.subtitle = files.place
    if let title { figure.title = title }
    try draw(GnuplotScript(figure, theme: dark ? .dark : .light))
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

  /// Draws in a folder of its own, so that a failure leaves nothing behind.
  private func draw(_ script: GnuplotScript) throws {
    let gnuplot = try Gnuplot()
    guard let format = PictureFormat(fileName: output) else { return }
    let manager = FileManager.default
    let folder = manager.temporaryDirectory.path + "/gyre-plot-" + UUID().uuidString
    try manager.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? manager.removeItem(atPath: folder) }
    let stem = String(fileName.dropLast(format.rawValue.count + 1))
    let (data, program) = (stem + ".csv", stem + ".gp")
    let source = script.script(format, output: fileName, data: data)
    try Data(script.data.utf8).write(to: URL(filePath: folder + "/" + data))
    try Data(source.utf8).write(to: URL(filePath: folder + "/" + program))
    try gnuplot.run(program, in: folder)
    let target = output.dropLast(fileName.count)
    for name in [fileName] + (keep ? [data, program] : []) {
      guard let bytes = manager.contents(atPath: folder + "/" + name), !bytes.isEmpty else {
        throw UserError("gnuplot has drawn nothing; run it on what --keep leaves to see why")
      }
      do {
        try bytes.write(to: URL(filePath: target + name), options: .atomic)
      } catch {
        throw UserError("\(target)\(name) cannot be written; name a folder that you may write to")
      }
    }
  }

  private var fileName: String {
    output.split(separator: "/", omittingEmptySubsequences: false).last.map(String.init) ?? ""
  }
}
