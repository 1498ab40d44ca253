package import MPI
import Reporting

/// Attention with its transfers, without them, and the transfers alone, measured in turn.
package struct OverlapBench {
  package let cases: [AttentionCase]
  package let passes: [KernelPass]
  package let rounds: Rounds

  package init(cases: [AttentionCase], passes: [KernelPass], rounds: Rounds) {
    self.cases = cases
    self.passes = passes
    self.rounds = rounds
  }

  /// Measures one sequence after the other, called by all ranks of the job together.
  ///
  /// - Parameter tokens: of each sequence.
  /// - Returns: rows on rank 0, nothing elsewhere.
  package func measure(
    tokens: [Int], progressOn terminal: Int32?, on world: borrowing Communicator
  ) throws -> [AttentionResult<OverlapFigures>] {
    let comparisons = cases.flatMap { attention in tokens.map { (attention, $0) } }
    var progress = rounds.progress(comparisons: comparisons.count, on: terminal)
    defer { progress.clear() }
    var results: [AttentionResult<OverlapFigures>] = []
    for (attention, tokens) in comparisons {
      let setup = try AttentionSetup(
        attention, tokens: tokens, ranks: world.size, passes: passes, parts: TrialPart.allCases,
        on: world)
      try rounds.run(setup.all, progress: &progress, on: world)
      if world.rank == 0 { results += passes.compactMap { result($0, setup) } }
      try setup.close()
    }
    return results
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
