import ArgumentParser
import Attention
import Jobs
import Models
import MPI
import Reporting
import Settings
import Tensors

/// `gyre logits`.
struct LogitsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "logits",
    abstract: "What a model thinks comes after each token of a sequence.",
    usage: "mpirun -n P gyre logits MODEL --ids 1,2,3 | --prompt TEXT | --text FILE --output FILE",
    discussion: """
      OUTPUT gets logits [tokens, vocabulary] in F32: row t of what comes after token t. The \
      tokens are divided among the ranks, and each writes its rows.
      """)

  @OptionGroup var model: ModelOptions

  @Option(
    parsing: .unconditional, help: ArgumentHelp("The tokens, as numbers.", valueName: "0,1,…"),
    transform: parseTokens)
  var ids: [Int]?

  @Option(help: ArgumentHelp("The text itself.", valueName: "text"))
  var prompt: String?

  @Option(help: ArgumentHelp("A file with the text.", valueName: "file"), completion: .file())
  var text: String?

  @Option(
    help: ArgumentHelp("Where the logits go.", valueName: "file"),
    completion: .file(extensions: ["safetensors"]))
  var output: String

  @OptionGroup var overwriting: OverwriteOptions

  @OptionGroup var instructionOptions: InstructionOptions

  @OptionGroup(title: "Settings")
  var layers: SettingsOptions

  func validate() throws {
    let given = [ids != nil, prompt != nil, text != nil].filter { $0 }.count
    guard given == 1 else {
      throw ValidationError("Give the tokens by one of --ids, --prompt and --text.")
    }
  }
}

extension LogitsCommand: DistributedCommand, ComputingCommand {
  var arithmetics: [Arithmetic] { [model.arithmetic] }
  var weightProducts: ProductArithmetic? { model.weightProducts }

  /// Reads, runs, writes.
  func run(on world: borrowing Communicator) throws {
    try world.agreed {
      guard world.rank == 0 else { return }
      var files = RunFiles(settings: layers)
      try files.read(model.model, as: "the model")
      try files.read(text, as: "--text")
      _ = try files.write(output, as: "--output", existing: overwriting.existing)
    }
    let open = try OpenModel(model, on: world)
    let vocabulary = open.decoder.sizes.vocabulary
    let tokens = try tokens(open, on: world)
    guard !tokens.isEmpty else {
      throw AgreedFailure(
        message: world.rank == 0 ? "gyre: there are no tokens; give a text with some." : nil)
    }
    let (options, _) = try open.options(tokens: tokens.count, context: nil, on: world)
    let layout = try SafetensorsLayout(
      path: output, tensors: [TensorDescription("logits", .f32, [tokens.count, vocabulary])])
    let writer = try SharedWriter(layout, existing: overwriting.existing, on: world)
    let prefill = try Prefill(open.decoder, tokens: tokens.count, options: options, on: world)
    var progress = ModelProgress(open, options, tokens: tokens.count, withLogits: true, on: world)
    // What fails on one rank ends the job there: others may be waiting in attention.
    try prefill.forEachLogits(of: tokens, on: world, progress: { progress.advance(by: $0) }) {
      logits, positions in
      try writer.write(RowSlice(positions, axis: 0), of: "logits", from: logits)
    }
    progress.clear()
    try writer.commit(on: world)
  }

  private func tokens(_ open: OpenModel, on world: borrowing Communicator) throws -> [Int] {
    let vocabulary = open.decoder.sizes.vocabulary
    if let ids {
      if let wrong = ids.first(where: { $0 >= vocabulary }) {
        throw AgreedFailure(
          message: world.rank == 0
            ? "gyre: --ids names token \(wrong), and the model has \(grouped(vocabulary)), from 0 "
              + "to \(grouped(vocabulary - 1))." : nil, code: usageExitCode)
      }
      return ids
    }
    return try ModelText(open.file).tokens(vocabulary: vocabulary, on: world) { tokenizer in
      let bytes =
        try text.map { try ModelText.bytes(of: $0, option: "--text") } ?? Array((prompt ?? "").utf8)
      return tokenizer.encode(bytes, addingBeginning: tokenizer.addsBeginning)
    }
  }
}

/// Parses `1,2,3`.
@Sendable
private func parseTokens(_ text: String) throws -> [Int] {
  let tokens = text.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) }
  guard !tokens.isEmpty, tokens.allSatisfy({ ($0 ?? -1) >= 0 }) else {
    throw ValidationError("give whole numbers from 0 on, joined by commas.")
  }
  return tokens.compactMap { $0 }
}
