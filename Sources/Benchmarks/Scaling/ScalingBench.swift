package import MPI
import Reporting
import SequenceParallel

/// The same attention on several numbers of ranks, measured in turn.
package struct ScalingBench {
  let cases: [AttentionCase]
  let passes: [KernelPass]
  let rounds: Rounds
  /// In ascending order; the first is the baseline.
  let rankCounts: [Int]

  package init(
    cases: [AttentionCase], passes: [KernelPass], rounds: Rounds, rankCounts: [Int]
  ) {
    self.cases = cases
    self.passes = passes
    self.rounds = rounds
    self.rankCounts = rankCounts
  }

  /// Measures one sequence after the other, called by all ranks of the job together.
  ///
  /// - Parameter tokens: of each sequence, for a number of ranks.
  /// - Returns: rows on rank 0, nothing elsewhere.
  package func measure(
    tokens: [(_ ranks: Int) -> Int], progressOn terminal: Int32?,
    on world: borrowing Communicator
  ) throws -> [AttentionResult<ScalingFigures>] {
    var progress = rounds.progress(comparisons: cases.count * tokens.count, on: terminal)
    defer { progress.clear() }
    var results: [AttentionResult<ScalingFigures>] = []
    for attention in cases {
      for tokens in tokens {
        let setups = try rankCounts.map { ranks in
          try AttentionSetup(
            attention, tokens: tokens(ranks), ranks: ranks, passes: passes,
            parts: [.all, .computing], on: world)
        }
        try rounds.run(setups.flatMap(\.all), progress: &progress, on: world)
        if world.rank == 0 {
          results += passes.flatMap { pass in
            setups.compactMap { result(pass, $0, baseline: setups[0]) }
          }
        }
        for setup in setups { try setup.close() }
      }
    }
    return results
  }

  private func result(
    _ pass: KernelPass, _ setup: AttentionSetup, baseline: AttentionSetup
  ) -> AttentionResult<ScalingFigures>? {
    guard let contestant = setup.contestant(pass, .all),
      let first = baseline.contestant(pass, .all)
    else { return nil }
    let (ranks, fewest) = (setup.problem.ranks, baseline.problem.ranks)
    let (times, firstTimes) = (contestant.seconds, first.seconds)
    let flops = setup.flops(pass)
    let speedup = firstTimes.medianRatio(to: times) * flops / baseline.flops(pass)
    let computing = setup.contestant(pass, .computing)?.seconds
    let firstComputing = baseline.contestant(pass, .computing)?.seconds
    var share: Double?
    if let computing, let firstComputing {
      share = computing.ratios(to: times).medianRatio(to: firstComputing.ratios(to: firstTimes))
    }
    let ofRanks = contestant.rankSeconds
    let figures = ScalingFigures(
      repeats: contestant.rounds.count, seconds: times.median,
      secondsLow: times.interval.lowerBound, secondsHigh: times.interval.upperBound,
      spread: times.spread, slowestRankSeconds: ofRanks.slowest,
      medianRankSeconds: ofRanks.median, fastestRankSeconds: ofRanks.fastest,
      computeSeconds: contestant.mean(\.computing).median,
      exposedSeconds: contestant.mean(\.waiting).median,
      imbalanceSeconds: contestant.imbalance.median,
      computeOnlySeconds: Nullable(value: computing?.median),
      bytesSentPerRank: contestant.largest(\.bytesSent),
      messagesPerRank: contestant.largest(\.messagesSent), flops: flops,
      flopsPerSecond: flops / times.median,
      baseline: "\(fewest) \(fewest == 1 ? "rank" : "ranks"), same job", speedup: speedup,
      efficiency: speedup * Double(fewest) / Double(ranks),
      efficiencyWithoutContention: Nullable(value: share))
    return AttentionResult(key: setup.key(pass), figures: figures)
  }
}
