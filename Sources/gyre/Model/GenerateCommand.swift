import ArgumentParser
import Attention
import Glibc
import Jobs
import Models
import MPI
import Reporting
import Settings

/// `gyre generate`.
struct GenerateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "generate",
    abstract: "Goes on with a text, as a model thinks that it goes on.",
    usage: "mpirun -n P gyre generate MODEL --prompt TEXT | --prompt-file FILE [options]",
    discussion: """
      The prompt is read by all ranks together, each its part; keys and values stay with the \
      ranks. Tokens are printed as they come. The most likely ones, without --temperature, do not \
      depend \
      on the number of ranks.
      """)

  @OptionGroup var model: ModelOptions

  @Option(help: ArgumentHelp("The text to go on with.", valueName: "text"))
  var prompt: String?

  @Option(
    help: ArgumentHelp("A file with it.", valueName: "file"), completion: .file())
  var promptFile: String?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("The most tokens that are added.", valueName: "n"))
  var maxTokens = 128

  @Flag(
    help: """
      The prompt is a message to the model, put as it was trained to be spoken to, and what comes \
      is its answer. Without a prompt messages are read from standard input, a line each.
      """)
  var chat = false

  @Option(
    help: ArgumentHelp(
      "Ends before this text; may be given several times.", valueName: "text"))
  var stop: [String] = []

  @OptionGroup var windowFiles: WindowFileOptions

  @OptionGroup(title: "Sampling")
  var sampling: SamplingOptions

  @Option(help: "What rank 0 prints: the text as it comes, or one JSON object.")
  var report = ReportFormat.text

  @OptionGroup var instructionOptions: InstructionOptions

  @OptionGroup(title: "Settings")
  var layers: SettingsOptions

  func validate() throws {
    guard (prompt != nil) != (promptFile != nil) || (chat && prompt == nil && promptFile == nil)
    else {
      throw ValidationError(
        "Give the prompt by one of --prompt and --prompt-file, or --chat alone to be asked.")
    }
    if isInteractive, sampling.samples > 1 {
      throw ValidationError(
        "--samples goes with one prompt; give --prompt or --prompt-file, or leave it out.")
    }
    if isInteractive, !windowFiles.windowFiles.isEmpty {
      throw ValidationError(
        "--window-files goes with one prompt; give --prompt or --prompt-file, or leave it out.")
    }
    guard maxTokens >= 1 else {
      throw ValidationError("--max-tokens is \(maxTokens); give at least 1.")
    }
    guard !stop.contains("") else { throw ValidationError("--stop is empty; give some text.") }
  }
}

extension GenerateCommand: DistributedCommand, ComputingCommand {
  var arithmetics: [Arithmetic] { [model.arithmetic] }
  var weightProducts: ProductArithmetic? { model.weightProducts }

  /// Reads, goes on, reports.
  func run(on world: borrowing Communicator) throws {
    try world.agreed {
      guard world.rank == 0 else { return }
      var files = RunFiles(settings: layers)
      try files.read(model.model, as: "the model")
      try files.read(promptFile, as: "--prompt-file")
      try windowFiles.read(in: &files)
    }
    let open = try OpenModel(model, on: world)
    let speaker = try world.agreed {
      try world.rank == 0 ? Speaker(self, open) : nil
    }
    let windows = try windowFiles.windows(open, model, on: world)
    let first = try world.agreed {
      try speaker?.firstTokens(afterWindows: windows != nil) ?? []
    }
    let tokens = try ModelText.share(first, on: world)
    guard !tokens.isEmpty else {
      throw AgreedFailure(
        message: world.rank == 0 ? "gyre: the prompt is empty; give a text." : nil,
        code: usageExitCode)
    }
    // Room for a conversation, and what scalings of positions go by.
    let read = (windows?.tokens.count ?? 0) + tokens.count
    let context = read + (isInteractive ? max(4096, maxTokens) : maxTokens)
    // The task comes to the windows, whose keys stay where they are.
    let prompt = windows?.tokens ?? tokens
    let (options, memory) = try open.options(
      tokens: prompt.count, context: context, forks: sampling.samples > 1 ? sampling.samples : 0,
      isFollowed: isInteractive,
      contextWindows: windows.map {
        ContextWindows($0.lengths, isStructured: windowFiles.structured, context: context)
      }, on: world)
    var progress = ModelProgress(
      open, options, tokens: prompt.count, withLogits: false, isQuiet: report == .json, on: world)
    let start = ContinuousClock.now
    let generation = try Generation(
      open.decoder, prompt: prompt, context: context, options: options, on: world
    ) { progress.advance(by: $0) }
    if windows != nil { try generation.extend(by: tokens, on: world) }
    progress.clear()
    let begun = ContinuousClock.now
    let turns = try speakAll(generation, speaker, on: world)
    var turn = turns[0]
    let seconds = (ContinuousClock.now - begun).inSeconds
    while let next = try nextTurn(speaker, turn, on: world) {
      try generation.extend(by: next, on: world)
      turn = try speak([generation], speaker, on: world)[0]
    }
    let result = GenerationReport(
      command: self, open, prompt: read, turns: turns,
      prefillSeconds: (begun - start).inSeconds, decodeSeconds: seconds,
      sums: try GenerationSums(generation, memory, on: world), memory: memory, ranks: world.size)
    if report == .json { try world.printReport(try jsonLine(result)) }
    if report == .text, world.rank == 0, !isInteractive {
      printError(result.summary)
    }
  }

  /// Whether messages come from standard input.
  private var isInteractive: Bool { chat && prompt == nil && promptFile == nil }

  /// The tokens of the next message of a conversation, on all ranks; nil if there is none.
  private func nextTurn(
    _ speaker: Speaker?, _ turn: Turn, on world: borrowing Communicator
  ) throws -> [Int]? {
    guard isInteractive else { return nil }
    let own = try world.agreed {
      // What was said last has not been taken in.
      try speaker?.nextTokens().map { (turn.tokens.last.map { [$0] } ?? []) + $0 } ?? []
    }
    let tokens = try ModelText.share(own, on: world)
    return tokens.isEmpty ? nil : tokens
  }
}

/// Why a text ends.
enum Ending: Int, Encodable {
  case none, length, endOfText, stop

  /// As reports have it.
  var name: String {
    switch self {
    case .none: "none"
    case .length: "length"
    case .endOfText: "end"
    case .stop: "stop"
    }
  }
}
