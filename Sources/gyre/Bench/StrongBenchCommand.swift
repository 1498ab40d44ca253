import ArgumentParser
import Attention
import Benchmarks
import Jobs
import MPI
import Reporting
import Results
import Settings

/// `gyre bench strong`: one sequence on more and more ranks.
struct StrongBenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "strong",
    abstract: "Strong scaling: one sequence on more and more ranks.",
    usage: "mpirun -n P gyre bench strong [options]",
    discussion: """
      \(RankCounts.discussion) All numbers of ranks, and for each what computing takes without any \
      transfer, take turns within one run, so that a machine whose speed drifts slows all; ratios \
      are medians over its rounds. The baseline is the smallest number of ranks of the same job. \
      \(RankCounts.threads)
      """)

  @Option(
    help: "Tokens of the whole sequence, one number or several. (default: 16384)",
    transform: { try parseIntegers($0, in: 1...1 << 24) })
  var tokens = [16384]

  @OptionGroup var counts: RankCounts
  @OptionGroup(title: "Operators") var mixing: MixerScalingOptions
  @OptionGroup(title: "Attention") var attention: AttentionOptions
  @OptionGroup(title: "Rounds") var rounds: RoundOptions
  @OptionGroup(title: "Output") var table: TableOptions
  @OptionGroup(title: "Settings") var layers: SettingsOptions

  func validate() throws {
    try table.check(
      mixing.mixers == nil
        ? AttentionResult<ScalingFigures>.columns : MixerRow<ScalingFigures>.columns)
  }
}

extension StrongBenchCommand: DistributedCommand, ComputingCommand {
  var instructionOptions: InstructionOptions { attention.instructionOptions }
  var arithmetics: [Arithmetic] { attention.arithmetics }

  /// Measures on all ranks and prints on rank 0.
  func run(on world: borrowing Communicator) throws {
    let tokens = tokens.map { tokens in { (_: Int) in tokens } }
    guard let mixers = mixing.mixers else {
      return try runScaling("strong", tokens, counts, attention, rounds, table, on: world)
    }
    try mixing.run(
      "strong", mixers, tokens, counts, attention, rounds, table, on: world)
  }
}

/// What strong and weak scaling have in common, which is all but the tokens of a number of ranks.
func runScaling(
  _ benchmark: String, _ tokens: [(_ ranks: Int) -> Int], _ counts: RankCounts,
  _ attention: AttentionOptions, _ rounds: RoundOptions, _ table: TableOptions,
  on world: borrowing Communicator
) throws {
  let threads = try attention.threading.commonCount(on: world)
  let environment = try BenchEnvironment.gather(
    threads: threads, linkRate: LinkRate.announced, on: world)
  let bench = ScalingBench(
    cases: attention.cases(by: .auto, threads: threads), passes: attention.passes,
    rounds: rounds.rounds,
    rankCounts: try counts.counts(on: world))
  var printer = RowPrinter<AttentionResult<ScalingFigures>>(table, environment, of: benchmark)
  try bench.measure(
    benchmark, tokens: tokens, cores: environment.coresOfJob,
    progressOn: Terminal.forProgress(of: world), on: world
  ) { try printer.add($0, on: world) }
  try printer.finish(on: world)
}
