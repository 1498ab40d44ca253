import ArgumentParser
import Attention
import Benchmarks
import Jobs
import MPI
import Models
import Reporting
import Results
import Settings

/// `gyre bench model`: how fast a model reads and writes.
struct ModelBenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "model",
    abstract: "How fast a model reads a prompt and writes tokens, in llama-bench's terms.",
    usage: "mpirun -n P gyre bench model MODEL [options]",
    discussion: """
      pp512 is a prompt of 512 tokens read at once, tg128 is 128 tokens written one after the \
      other, and tg128 x4 as many of each of four texts after one prompt, at once; with @ d4096 \
      they come after 4,096 others, which are not timed. Tokens are any, and logits are computed \
      of the last of a prompt and of each that is written. \
      \(RankCounts.discussion) All tests and numbers of ranks of a depth take turns; speedups are \
      over the fewest ranks of the same job. \(RankCounts.threads)
      """)

  @OptionGroup var model: ModelOptions

  @Option(
    name: .customLong("prompt-tokens"),
    help: ArgumentHelp(
      "Tokens of prompts, one number or several; 0 for none. (default: 512)", valueName: "n,…"),
    transform: { try parseIntegers($0, in: 0...1 << 24) })
  var prompts = [512]

  @Option(
    name: .customLong("generated-tokens"),
    help: ArgumentHelp(
      "Tokens that are written, one number or several; 0 for none. (default: 128)",
      valueName: "n,…"),
    transform: { try parseIntegers($0, in: 0...1 << 20) })
  var generated = [128]

  @Option(
    help: ArgumentHelp(
      "Texts that get them at once, one number or several. (default: 1)", valueName: "n,…"),
    transform: { try parseIntegers($0, in: 1...1 << 16) })
  var samples = [1]

  @Option(
    help: ArgumentHelp(
      "Tokens that are there before, one number or several. (default: 0)", valueName: "n,…"),
    transform: { try parseIntegers($0, in: 0...1 << 24) })
  var depth = [0]

  @OptionGroup var counts: RankCounts

  @OptionGroup var instructionOptions: InstructionOptions

  @OptionGroup(title: "Rounds") var rounds: RoundOptions
  @OptionGroup(title: "Output") var table: TableOptions
  @OptionGroup(title: "Settings") var layers: SettingsOptions

  func validate() throws {
    try table.check(ModelBenchResult.columns)
    if model.reproducible {
      throw ValidationError(
        "--reproducible is for the commands that give results; leave it out.")
    }
    guard (prompts + generated).contains(where: { $0 > 0 }) else {
      throw ValidationError(
        "--prompt-tokens and --generated-tokens leave nothing to measure; give one of them tokens.")
    }
  }
}

extension ModelBenchCommand: DistributedCommand, ComputingCommand {
  var arithmetics: [Arithmetic] { [model.arithmetic] }
  var weightProducts: ProductArithmetic? { model.weightProducts }

  /// Measures on all ranks and prints on rank 0.
  func run(on world: borrowing Communicator) throws {
    try world.agreed {
      guard world.rank == 0 else { return }
      var files = RunFiles(settings: layers)
      try files.read(model.model, as: "the model")
    }
    let rankCounts = try counts.counts(on: world)
    let threads = try model.threading.commonCount(on: world)
    let environment = try BenchEnvironment.gather(
      threads: threads, linkRate: LinkRate.announced, on: world)
    let open = try OpenModel(model, on: world)
    let name = model.model.split(separator: "/").last.map(String.init) ?? model.model
    let bench = ModelBench(
      ModelBench.Model(name: name, decoder: open.decoder, threads: threads),
      prompts: prompts.filter { $0 > 0 }, generated: generated.filter { $0 > 0 },
      samples: samples, depths: depth, rounds: rounds.rounds, rankCounts: rankCounts)
    let most = samples.max() ?? 1
    var printer = RowPrinter<ModelBenchResult>(table, environment)
    try bench.measure(
      cores: environment.coresOfJob, progressOn: Terminal.forProgress(of: world), on: world
    ) { prompt, context, members in
      try OpenModel(open, threads: threads, on: members).options(
        tokens: prompt, context: context, forks: most > 1 ? most : 0, isFollowed: true,
        on: members)
    } emit: {
      try printer.add($0, on: world)
    }
    try printer.finish(on: world)
  }
}
