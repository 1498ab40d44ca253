package import MPI
package import Reporting

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
  /// - Parameters:
  ///   - tokens: of each sequence.
  ///   - cores: of the job.
  ///   - place: where somebody watches; nil on all ranks but 0.
  ///   - emit: takes the rows of a sequence, on rank 0; called by all ranks.
  package func measure(
    tokens: [Int], cores: Int, progressOn place: ProgressPlace?,
    on world: borrowing Communicator, emit: ([AttentionResult<OverlapFigures>]) throws -> Void
  ) throws {
    let all = cases.flatMap { attention in tokens.map { (attention, $0) } }
    let (speed, ranks) = (EstimatedSpeed(cores: cores), world.size)
    // Three of the four parts compute.
    let roundSeconds = all.map { attention, tokens in
      passes.reduce(0) {
        $0 + 3
          * speed.seconds(
            flops: attention.flops($1, tokens: tokens), ranks: ranks, threads: attention.threads)
      }
    }
    var comparisons = Comparisons("overlap", rounds, roundSeconds: roundSeconds, on: place)
    for (attention, tokens) in all where try comparisons.hasTime(on: world) {
      let setup = try AttentionSetup(
        attention, tokens: tokens, ranks: ranks, passes: passes, parts: TrialPart.allCases,
        on: world)
      try comparisons.run(setup.all, on: world)
      try emit(world.rank > 0 ? [] : passes.compactMap { result($0, setup) })
      try setup.close()
    }
    comparisons.finish()
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
