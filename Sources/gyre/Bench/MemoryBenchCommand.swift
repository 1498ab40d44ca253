import ArgumentParser
import Attention
import Benchmarks
import Jobs
import MPI
import Reporting
import Results
import Settings

/// `gyre bench memory`: what a rank needs as sequences and jobs grow.
struct MemoryBenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "memory",
    abstract: "Memory of a rank as sequences and jobs grow, against the formula.",
    usage: "mpirun -n P gyre bench memory [options]",
    discussion: """
      Each pass runs once for each number of tokens and ranks. The peak of the rank that has most \
      is set back before each (clear_refs in /proc); where the system refuses, it is the largest \
      so far, and peakReset says so. With shared and hierarchical a block that is read in place \
      counts for every rank that reads it. \(RankCounts.discussion)
      """)

  @Option(
    help: "Tokens of the whole sequence, one number or several. (default: 4096,8192,16384)",
    transform: { try parseIntegers($0, in: 1...1 << 24) })
  var tokens = [4096, 8192, 16384]

  @OptionGroup var counts: RankCounts
  @OptionGroup(title: "Attention") var attention: AttentionOptions
  @OptionGroup(title: "Settings") var layers: SettingsOptions

  @OptionGroup(title: "Output") var table: TableOptions

  func validate() throws {
    try table.check(AttentionResult<MemoryFigures>.columns)
    guard zip(tokens, tokens.dropFirst()).allSatisfy({ $0 < $1 }) else {
      throw ValidationError("give --tokens in ascending order; a peak may be that of all so far.")
    }
  }
}

extension MemoryBenchCommand: DistributedCommand, ComputingCommand {
  var instructionOptions: InstructionOptions { attention.instructionOptions }
  var arithmetics: [Arithmetic] { attention.arithmetics }

  /// Measures on all ranks and prints on rank 0.
  func run(on world: borrowing Communicator) throws {
    let threads = try attention.threading.commonCount(on: world)
    let environment = try BenchEnvironment.gather(
      threads: threads, linkRate: LinkRate.announced, on: world)
    let rankCounts = try counts.counts(on: world)
    let bench = MemoryBench(
      cases: attention.cases(by: .ring, threads: threads), passes: attention.passes)
    var printer = RowPrinter<AttentionResult<MemoryFigures>>(table, environment)
    try bench.measure(
      tokens: tokens, rankCounts: rankCounts, cores: environment.coresOfJob,
      progressOn: Terminal.forProgress(of: world), on: world
    ) { try printer.add($0, on: world) }
    try printer.finish(on: world)
  }
}
