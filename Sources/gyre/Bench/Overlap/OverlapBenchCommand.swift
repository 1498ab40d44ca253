import ArgumentParser
import MPI

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

extension OverlapBenchCommand: DistributedCommand {
  /// Measures on all ranks and prints on rank 0.
  func run(on world: borrowing Communicator) throws {
    try world.agreed {
      if world.size > 1 { return }
      throw ArgumentError(
        "a single rank transfers nothing; start bench overlap with mpirun -n 2 or more.")
    }
    let environment = try BenchEnvironment.gather(threads: attention.threads, on: world)
    let comparisons = attention.cases(by: TransportArgument(named: "ring")).flatMap { attention in
      tokens.map { (attention, $0) }
    }
    var progress = rounds.progress(comparisons: comparisons.count, on: world)
    defer { progress.clear() }
    var results: [AttentionResult<OverlapFigures>] = []
    for (attention, tokens) in comparisons {
      let setup = try AttentionSetup(
        attention, tokens: tokens, ranks: world.size, passes: self.attention.passes,
        parts: TrialPart.allCases, on: world)
      try rounds.run(setup.all, progress: &progress, on: world)
      if world.rank == 0 {
        results += self.attention.passes.compactMap { result($0, setup) }
      }
      try setup.close()
    }
    try world.printReport(BenchReport(results, in: environment).text(table))
  }

  private func result(
    _ pass: KernelPass, _ setup: AttentionSetup
  ) -> AttentionResult<OverlapFigures>? {
    guard let contestant = setup.contestant(pass, .all),
      let serial = setup.contestant(pass, .withoutOverlap)?.seconds
    else { return nil }
    let times = contestant.seconds
    let computing = setup.contestant(pass, .computing)?.seconds
    // What a rank does before and after its visits is no transfer.
    let transfers = setup.contestant(pass, .transfers)?.samples { $0.map(\.waiting).max() ?? 0 }
    let bytes = contestant.largest(\.bytesSent)
    var hidden: Double?
    if let computing, let transfers, bytes > 0 {
      var fractions = Samples()
      for (index, all) in times.values.enumerated() {
        let exposed = (all - computing.values[index]) / transfers.values[index]
        fractions.append(min(1, max(0, 1 - exposed)))
      }
      hidden = fractions.median
    }
    let flops = setup.flops(pass)
    let figures = OverlapFigures(
      repeats: contestant.rounds.count,
      seconds: times.median, secondsLow: times.interval.lowerBound,
      secondsHigh: times.interval.upperBound, spread: times.spread,
      noOverlapSeconds: serial.median, computeOnlySeconds: Nullable(value: computing?.median),
      transferSeconds: Nullable(value: transfers?.median), hiddenFraction: Nullable(value: hidden),
      ratioToComputeOnly: Nullable(value: computing.map { times.medianRatio(to: $0) }),
      bytesSentPerRank: bytes, messagesPerRank: contestant.largest(\.messagesSent), flops: flops,
      flopsPerSecond: flops / times.median)
    return AttentionResult(key: setup.key(pass), figures: figures)
  }
}
