import Compute
import Jobs
package import MPI
import Mixers
package import Reporting

/// The same operators on several numbers of ranks, measured in turn.
package struct MixerScalingBench {
  let cases: [MixerCase]
  let passes: [KernelPass]
  let rounds: Rounds
  /// In ascending order; the first is the baseline.
  let rankCounts: [Int]

  package init(
    cases: [MixerCase], passes: [KernelPass], rounds: Rounds, rankCounts: [Int]
  ) {
    self.cases = cases
    self.passes = passes
    self.rounds = rounds
    self.rankCounts = rankCounts
  }

  /// Measures one sequence after the other, called by all ranks of the job together; see
  /// ``ScalingBench``.
  package func measure(
    _ name: String, tokens: [(_ ranks: Int) -> Int], cores: Int, progressOn place: ProgressPlace?,
    on world: borrowing Communicator, emit: ([MixerRow<ScalingFigures>]) throws -> Void
  ) throws {
    defer { TensorMemory.release() }
    let all = cases.flatMap { mixing in tokens.map { (mixing, $0) } }
    let speed = EstimatedSpeed(cores: cores)
    let seconds = try world.agreed { try all.map { try roundSeconds($0, $1, speed) } }
    var comparisons = Comparisons(name, rounds, roundSeconds: seconds, on: place)
    for (mixing, tokens) in all where try comparisons.hasTime(on: world) {
      TensorMemory.keep(on: ThreadTeam(threads: mixing.threads))
      let setups = try rankCounts.map { ranks in
        try MixerSetup(
          mixing, tokens: tokens(ranks), ranks: ranks, passes: passes,
          parts: MixerTrial.Part.allCases, on: world)
      }
      try comparisons.run(setups.flatMap(\.all), on: world)
      try emit(
        world.rank > 0
          ? []
          : passes.flatMap { pass in
            setups.compactMap { result(pass, $0, baseline: setups[0]) }
          })
      TensorMemory.release()
    }
    comparisons.finish()
  }

  /// About how long a round takes: each pass on all numbers of ranks, with messages and without.
  private func roundSeconds(
    _ mixing: MixerCase, _ tokens: (_ ranks: Int) -> Int, _ speed: EstimatedSpeed
  ) throws -> Double {
    try rankCounts.reduce(0) { sum, ranks in
      let mixer = try mixing.mixer(tokens: tokens(ranks))
      return passes.reduce(sum) { sum, pass in
        let flops = mixing.flops(pass, mixer, tokens: mixer.tokens)
        return sum + 2
          * speed.seconds(
            flops: flops + 8 * mixer.leastBytes(pass, tokens: mixer.tokens), ranks: ranks,
            threads: mixing.threads)
      }
    }
  }

  private func result(
    _ pass: KernelPass, _ setup: MixerSetup, baseline: MixerSetup
  ) -> MixerRow<ScalingFigures>? {
    guard let contestant = setup.contestant(pass), let first = baseline.contestant(pass) else {
      return nil
    }
    let figures = ScalingFigures(
      contestant, computing: setup.contestant(pass, .computing)?.seconds,
      flops: setup.flops(pass), ranks: setup.ranks,
      baseline: ScalingFigures.Baseline(
        times: first.seconds, computing: baseline.contestant(pass, .computing)?.seconds,
        flops: baseline.flops(pass), ranks: baseline.ranks))
    return MixerRow(key: setup.key(pass), figures: figures)
  }
}

extension ScalingFigures: MixerFigures {
  package static func remarks(on figures: [ScalingFigures]) -> [String] {
    let isAbove = figures.contains { $0.efficiency > 1.005 }
    return [Spread.remark(figures.map(\.spread)), isAbove ? aboveOne : nil].compactMap { $0 }
  }
}
