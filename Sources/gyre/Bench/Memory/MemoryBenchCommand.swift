import ArgumentParser
import MPI

/// `gyre bench memory`: what a rank needs as sequences and jobs grow.
struct MemoryBenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "memory",
    abstract: "Memory of a rank as sequences and jobs grow, against the formula.",
    usage: "mpirun -n P gyre bench memory [options]",
    discussion: """
      Each pass runs once for each number of tokens and ranks. The peak of the rank that has most is \
      set back before each (clear_refs in /proc); where the system refuses, it is the largest so far, \
      and peakReset says so. With shared and hierarchical a block that is read in place counts for \
      every rank that reads it. \(RankCounts.discussion)
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

extension MemoryBenchCommand: DistributedCommand {
  /// Measures on all ranks and prints on rank 0.
  func run(on world: borrowing Communicator) throws {
    let environment = try BenchEnvironment.gather(threads: attention.threads, on: world)
    let before = ProcessMemory.residentBytes
    let rankCounts = try counts.counts(on: world)
    var results: [AttentionResult<MemoryFigures>] = []
    for pass in attention.passes {
      for attention in attention.cases(by: TransportArgument(named: "ring")) {
        // The smallest shards first: a peak that cannot be set back would hide them.
        for ranks in rankCounts.reversed() {
          for tokens in tokens {
            results.append(
              try measure(pass, attention, tokens: tokens, ranks: ranks, before: before, on: world))
          }
        }
      }
    }
    try world.printReport(BenchReport(results, in: environment).text(table))
  }

  private func measure(
    _ pass: KernelPass, _ attention: AttentionCase, tokens: Int, ranks: Int,
    before: Int, on world: borrowing Communicator
  ) throws -> AttentionResult<MemoryFigures> {
    let isReset = ProcessMemory.resetPeak()
    let setup = try AttentionSetup(
      attention, tokens: tokens, ranks: ranks, passes: [pass], parts: [.all], on: world)
    for contestant in setup.all { try contestant.measure(isCounted: true, on: world) }
    let peak = ProcessMemory.peakResidentBytes
    let all = try world.allGather([peak, before, isReset ? 1 : 0]).prefix(ranks)
    try setup.close()
    let most = all.max { $0[0] < $1[0] } ?? [peak, before, 0]
    let figures = MemoryFigures(
      seconds: setup.contestant(pass, .all)?.seconds.median ?? 0, peakResidentBytes: most[0],
      processBytes: most[1], formulaBytes: setup.residentBytes,
      ratio: Double(most[0] - most[1]) / setup.residentBytes,
      peakReset: all.allSatisfy { $0[2] == 1 })
    return AttentionResult(key: setup.key(pass), figures: figures)
  }
}
