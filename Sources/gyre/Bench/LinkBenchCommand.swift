import ArgumentParser
import Benchmarks
import Jobs
import MPI
import Reporting
import Results
import Settings

/// `gyre bench link`: what messages among ranks take, and what links carry.
struct LinkBenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "link",
    abstract: "What messages take, in seconds and in processor time.",
    usage: "mpirun -n P gyre bench link [options]",
    discussion: """
      pair: there and back between each rank and the next, while the others sleep. shift: from \
      each rank to the next, all at once. exchange: from each rank to all others, all at once. \
      Processor time is of messages apart, whose ranks sleep between polls, as they compute \
      between them in attention. Rows of kind fit have the line through the times of all sizes: \
      seconds of a message without bytes, and of each byte.
      """)

  @Option(
    help: "Bytes of a message, one number or several. (default: nine sizes from 8 to 16777216)",
    transform: { try parseIntegers($0, in: 1...1 << 30) })
  var bytes = [8, 128, 2048, 16384, 65536, 262_144, 1 << 20, 4 << 20, 16 << 20]

  @OptionGroup(title: "Rounds") var rounds: RoundOptions
  @OptionGroup(title: "Output") var table: TableOptions
  @OptionGroup(title: "Settings") var layers: SettingsOptions

  func validate() throws { try table.check(LinkResult.columns) }
}

extension LinkBenchCommand: DistributedCommand {
  /// Measures on all ranks and prints on rank 0.
  func run(on world: borrowing Communicator) throws {
    let size = world.size
    try world.agreed {
      if size > 1 { return }
      throw UserError.usage(
        "a single rank has no link; start bench link with mpirun -n 2 or more.")
    }
    let environment = try BenchEnvironment.gather(
      threads: 1, linkRate: LinkRate.announced, on: world)
    var printer = RowPrinter<LinkResult>(table, environment)
    try LinkBench(bytes: bytes, rounds: rounds.rounds).measure(
      progressOn: Terminal.forProgress(of: world), on: world
    ) { try printer.add($0, on: world) }
    try printer.finish(on: world)
  }
}
