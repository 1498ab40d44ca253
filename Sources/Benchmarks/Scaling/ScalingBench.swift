package import MPI
package import Reporting
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
  /// - Parameters:
  ///   - name: of the benchmark.
  ///   - tokens: of each sequence, for a number of ranks.
  ///   - cores: of the job.
  ///   - place: where somebody watches; nil on all ranks but 0.
  ///   - emit: takes the rows of a sequence, on rank 0; called by all ranks.
  package func measure(
    _ name: String, tokens: [(_ ranks: Int) -> Int], cores: Int, progressOn place: ProgressPlace?,
    on world: borrowing Communicator, emit: ([AttentionResult<ScalingFigures>]) throws -> Void
  ) throws {
    let all = cases.flatMap { attention in tokens.map { (attention, $0) } }
    let speed = EstimatedSpeed(cores: cores)
    var comparisons = Comparisons(
      name, rounds, roundSeconds: all.map { roundSeconds($0, $1, speed) }, on: place)
    for (attention, tokens) in all where try comparisons.hasTime(on: world) {
      let setups = try rankCounts.map { ranks in
        try AttentionSetup(
          attention, tokens: tokens(ranks), ranks: ranks, passes: passes,
          parts: [.all, .computing], on: world)
      }
      try comparisons.run(setups.flatMap(\.all), on: world)
      try emit(
        world.rank > 0
          ? []
          : passes.flatMap { pass in
            setups.compactMap { result(pass, $0, baseline: setups[0]) }
          })
      for setup in setups { try setup.close() }
    }
    comparisons.finish()
  }

  /// About how long a round takes: each pass on all numbers of ranks, with transfers and without.
  private func roundSeconds(
    _ attention: AttentionCase, _ tokens: (_ ranks: Int) -> Int, _ speed: EstimatedSpeed
  ) -> Double {
    rankCounts.reduce(0) { sum, ranks in
      passes.reduce(sum) {
        $0 + 2
          * speed.seconds(
            flops: attention.flops($1, tokens: tokens(ranks)), ranks: ranks,
            threads: attention.threads)
      }
    }
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
