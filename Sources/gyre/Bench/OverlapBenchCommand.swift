import ArgumentParser
import Attention
import Benchmarks
import Jobs
import MPI
import Reporting
import Results
import Settings

/// `gyre bench overlap`: how much of the transfers hides behind the computation.
struct OverlapBenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "overlap",
    abstract: "How much of the transfers hides behind the computation.",
    usage: "mpirun -n P gyre bench overlap [options]",
    discussion: """
      On all ranks of the job, in turn within one run: attention as it always runs, with transfers \
      that end before a block is computed, without transfers, and transfers without computing. \
      Transports that share heads have only the first two. Without --transport it is the ring: in \
      shared memory, which auto would choose on one host, nothing is transferred.
      """)

  @Option(
    help: "Tokens of the whole sequence, one number or several. (default: 16384)",
    transform: { try parseIntegers($0, in: 1...1 << 24) })
  var tokens = [16384]

  @OptionGroup(title: "Attention") var attention: AttentionOptions
  @OptionGroup(title: "Rounds") var rounds: RoundOptions
  @OptionGroup(title: "Output") var table: TableOptions
  @OptionGroup(title: "Settings") var layers: SettingsOptions

  func validate() throws { try table.check(AttentionResult<OverlapFigures>.columns) }
}

extension OverlapBenchCommand: DistributedCommand, ComputingCommand {
  var instructionOptions: InstructionOptions { attention.instructionOptions }
  var arithmetics: [Arithmetic] { attention.arithmetics }

  /// Measures on all ranks and prints on rank 0.
  func run(on world: borrowing Communicator) throws {
    try world.agreed {
      if world.size > 1 { return }
      throw UserError.usage(
        "a single rank transfers nothing; start bench overlap with mpirun -n 2 or more.")
    }
    let threads = try attention.threading.commonCount(on: world)
    let environment = try BenchEnvironment.gather(
      threads: threads, linkRate: LinkRate.announced, on: world)
    let bench = OverlapBench(
      cases: attention.cases(by: .ring, threads: threads), passes: attention.passes,
      rounds: rounds.rounds)
    var printer = RowPrinter<AttentionResult<OverlapFigures>>(table, environment)
    try bench.measure(
      tokens: tokens, cores: environment.coresOfJob, progressOn: Terminal.forProgress(of: world),
      on: world
    ) { try printer.add($0, on: world) }
    try printer.finish(on: world)
  }
}
