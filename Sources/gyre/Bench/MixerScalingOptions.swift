import ArgumentParser
import Benchmarks
import Jobs
import MPI
import Mixers
import Reporting
import Results

/// `--mixer`: operators of gyre mix instead of attention.
struct MixerScalingOptions: ParsableArguments {
  @Option(
    name: .customLong("mixer"),
    help: ArgumentHelp(
      """
      Instead of attention: operators of gyre mix, with +causal and +softplus where these mean \
      something, on --sizes; of the attention options only --pass and --threads count. (default: \
      attention)
      """, valueName: "list"),
    completion: .list(MixerCatalog.all.map { $0.name }), transform: MixerChoice.list(parsing:))
  var mixers: [MixerChoice]?

  @OptionGroup var sizes: MixerSizeOptions

  func validate() throws {
    guard mixers == nil, sizes.sizes != MixerSizeList() else { return }
    throw ValidationError("--sizes is of --mixer; give both.")
  }

  /// Measures on all ranks and prints on rank 0.
  func run(
    _ benchmark: String, _ mixers: [MixerChoice], _ tokens: [(_ ranks: Int) -> Int],
    _ counts: RankCounts, _ attention: AttentionOptions, _ rounds: RoundOptions,
    _ table: TableOptions, on world: borrowing Communicator
  ) throws {
    try world.agreed { try attention.requireNoneBeside("--mixer") }
    let threads = try attention.threading.commonCount(on: world)
    let environment = try BenchEnvironment.gather(
      threads: threads, linkRate: LinkRate.announced, on: world)
    let bench = MixerScalingBench(
      cases: try world.agreed { try mixers.map { try $0.mixing(sizes.sizes, threads: threads) } },
      passes: attention.passes, rounds: rounds.rounds, rankCounts: try counts.counts(on: world))
    var printer = RowPrinter<MixerRow<ScalingFigures>>(table, environment, of: benchmark)
    try bench.measure(
      benchmark, tokens: tokens, cores: environment.coresOfJob,
      progressOn: Terminal.forProgress(of: world), on: world
    ) { try printer.add($0, on: world) }
    try printer.finish(on: world)
  }
}
