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
    let figures = ScalingFigures(
      contestant, computing: setup.contestant(pass, .computing)?.seconds,
      flops: setup.flops(pass), ranks: setup.problem.ranks,
      baseline: ScalingFigures.Baseline(
        times: first.seconds, computing: baseline.contestant(pass, .computing)?.seconds,
        flops: baseline.flops(pass), ranks: baseline.problem.ranks))
    return AttentionResult(key: setup.key(pass), figures: figures)
  }
}
