import ArgumentParser
import Attention
import Hosts
import Models
import Reporting
import SequenceParallel
import Settings

/// `gyre inspect`: what a model's file holds, and what running it takes.
struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "What is in a model's file, and what memory ranks would need to run it.",
    usage: "gyre inspect MODEL [options]",
    discussion: """
      Weights are counted once for a host, whose ranks share their pages; the rest is of each \
      rank, when blocks go round the ring and the whole context is the prompt. The longest \
      context is what fits this host's memory, with as many of the ranks on it as \
      --ranks-per-host says.
      """)

  @Argument(
    help: ArgumentHelp(
      "A .gguf file, or a folder of Hugging Face with config.json.", valueName: "model"),
    completion: .file(extensions: ["gguf"]))
  var model: String

  @Option(
    help: ArgumentHelp(
      "Tokens of prompt and answer together, as 8192 or 8K. (default: as many as the model was "
        + "trained with)", valueName: "n"),
    transform: { try parseTokens($0) })
  var context: Int?

  @Option(parsing: .unconditional, help: ArgumentHelp("Ranks.", valueName: "n"))
  var ranks = 1

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Ranks of a host. (default: all)", valueName: "n"))
  var ranksPerHost: Int?

  @Option(help: "The type in which keys and values travel and are kept.")
  var cacheType = CacheType.f32

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "The most tokens of a rank for which the widest rows of a layer are there at a time.",
      valueName: "n"))
  var chunk = 512

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("A token sees the W keys up to its own, in all layers.", valueName: "W"))
  var window: Int?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("The first S keys are seen whatever the window hides.", valueName: "S"))
  var sinks: Int?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      """
      The most tokens of a prompt that all ranks read together. (default: with --window, or where \
      layers carry states, four chunks of each rank or a window; else all)
      """, valueName: "n"))
  var piece: Int?

  @Flag(help: "Also list all tensors.")
  var tensors = false

  @Option(help: "Text for people, or one JSON object.")
  var report = ReportFormat.text

  @OptionGroup(title: "Settings")
  var layers: SettingsOptions

  func validate() throws {
    guard (1...1024).contains(ranks) else {
      throw ValidationError("--ranks is \(ranks); give a number from 1 to 1024.")
    }
    if let ranksPerHost, !(1...ranks).contains(ranksPerHost) {
      throw ValidationError(
        "--ranks-per-host is \(ranksPerHost); give a number from 1 to \(ranks), that of --ranks.")
    }
    guard (1...1 << 20).contains(chunk) else {
      throw ValidationError("--chunk is \(chunk); give a number from 1 to 1048576.")
    }
    for (name, number) in [("window", window), ("sinks", sinks), ("piece", piece)] {
      if let number, number < 1 {
        throw ValidationError("--\(name) is \(number); give at least 1, or leave it out.")
      }
    }
    if sinks != nil, window == nil {
      throw ValidationError(
        "--sinks says something about a window, and there is none; give --window with it, or "
          + "leave it out.")
    }
  }

  func run() throws {
    var files = RunFiles(settings: layers)
    try files.read(model, as: "the model")
    let file = try ModelFile(model)
    var options = RunOptions()
    options.chunk = chunk
    options.cacheType = cacheType
    options.chunksQueries = ranks == 1
    (options.window, options.sinks) = (window, sinks ?? 0)
    options.piece = piece
    let result = InspectReport(
      file, options: options, context: context, ranks: ranks, ranksPerHost: ranksPerHost ?? ranks,
      listsTensors: tensors, hostBytes: HostMemory.current.usableBytes)
    try printReport(report == .json ? try jsonLine(result) : result.text)
  }
}
