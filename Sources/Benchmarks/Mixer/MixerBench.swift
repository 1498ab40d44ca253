import Attention
import Compute
import Jobs
import KernelSets
package import MPI
import Mixers
package import Reporting

/// Operators over sequences of several lengths on several numbers of ranks, measured in turn.
package struct MixerBench {
  let cases: [MixerCase]
  /// Attention that is measured too, and the most tokens of it; nil for none.
  let attention: (problem: AttentionCase, limit: Int)?
  let passes: [KernelPass]
  let rounds: Rounds
  /// In ascending order.
  let rankCounts: [Int]

  package init(
    cases: [MixerCase], attention: (problem: AttentionCase, limit: Int)? = nil,
    passes: [KernelPass], rounds: Rounds, rankCounts: [Int]
  ) {
    self.cases = cases
    self.attention = attention
    self.passes = passes
    self.rounds = rounds
    self.rankCounts = rankCounts
  }

  /// Measures one operator after the other, all of its lengths and numbers of ranks in turn; called
  /// by all ranks of the job together.
  ///
  /// - Parameters:
  ///   - tokens: ascending.
  ///   - cores: of the job.
  ///   - place: where somebody watches; nil on all ranks but 0.
  ///   - emit: takes the rows of an operator, on rank 0; called by all ranks.
  package func measure(
    tokens: [Int], cores: Int, progressOn place: ProgressPlace?, on world: borrowing Communicator,
    emit: ([MixerRow<MixerSpeed>]) throws -> Void
  ) throws {
    defer { TensorMemory.release() }
    let speed = EstimatedSpeed(cores: cores)
    let seconds = try world.agreed {
      try cases.map { try roundSeconds($0, tokens, speed) }
    }
    let attended = tokens.filter { $0 <= attention?.limit ?? 0 }
    var comparisons = Comparisons(
      "mix", rounds, roundSeconds: seconds + attentionSeconds(attended, speed),
      on: place)
    let ceilings = world.rank == 0 ? Ceilings() : nil
    for mixing in cases where try comparisons.hasTime(on: world) {
      TensorMemory.keep(on: ThreadTeam(threads: mixing.threads))
      let setups = try tokens.map { tokens in
        try rankCounts.map { ranks in
          try MixerSetup(
            mixing, tokens: tokens, ranks: ranks, passes: passes, parts: [.all], on: world)
        }
      }
      let measuring = try measuring(ceilings, threads: mixing.threads, on: world)
      try comparisons.run([measuring] + setups.joined().flatMap(\.all), on: world)
      try emit(ceilings.map { results(setups, $0, threads: mixing.threads) } ?? [])
      TensorMemory.release()
    }
    if let attention, !attended.isEmpty, try comparisons.hasTime(on: world) {
      let setups = try attended.map { tokens in
        try rankCounts.map { ranks in
          try AttentionSetup(
            attention.problem, tokens: tokens, ranks: ranks, passes: passes, parts: [.all],
            on: world)
        }
      }
      let threads = attention.problem.threads
      let measuring = try measuring(ceilings, threads: threads, on: world)
      try comparisons.run([measuring] + setups.joined().flatMap(\.all), on: world)
      try emit(ceilings.map { attentionRows(setups, $0.bound(threads: threads)) } ?? [])
      for setup in setups.joined() { try setup.close() }
    }
    comparisons.finish()
  }

  /// Measures what limits a rank, on rank 0 alone.
  private func measuring(
    _ ceilings: Ceilings?, threads: Int, on world: borrowing Communicator
  ) throws -> Contestant {
    ceilings?.reset()
    return Contestant(try RankGroup([0], of: world)) { _ in
      ceilings?.measure(threads: threads) ?? RankFigures()
    }
  }

  private func results(
    _ setups: [[MixerSetup]], _ ceilings: Ceilings, threads: Int
  ) -> [MixerRow<MixerSpeed>] {
    let bound = ceilings.bound(threads: threads)
    return passes.flatMap { pass in
      rankCounts.indices.flatMap { place in
        setups.indices.compactMap { index in
          result(
            pass, setups[index][place], before: index == 0 ? nil : setups[index - 1][place], bound)
        }
      }
    }
  }

  private func result(
    _ pass: KernelPass, _ setup: MixerSetup, before: MixerSetup?, _ bound: MixerSpeed.Bound
  ) -> MixerRow<MixerSpeed>? {
    guard let contestant = setup.contestant(pass) else { return nil }
    let work = MixerSpeed.Work(
      flops: setup.flops(pass),
      bytes: setup.mixer.leastBytes(pass, tokens: setup.mixer.tokens),
      tokens: setup.mixer.tokens * setup.mixer.batch, ranks: setup.ranks)
    let figures = MixerSpeed(
      contestant, before: before?.contestant(pass), work, bound)
    return MixerRow(key: setup.key(pass), figures: figures)
  }

  /// About how long a round takes.
  private func roundSeconds(
    _ mixing: MixerCase, _ tokens: [Int], _ speed: EstimatedSpeed
  ) throws -> Double {
    try tokens.reduce(0) { sum, tokens in
      let mixer = try mixing.mixer(tokens: tokens)
      return rankCounts.reduce(sum) { sum, ranks in
        passes.reduce(sum) { sum, pass in
          // Of most operators memory is the bound: as if it gave a byte for a flop.
          let work =
            mixing.flops(pass, mixer, tokens: tokens) + 8 * mixer.leastBytes(pass, tokens: tokens)
          return sum + speed.seconds(flops: work, ranks: ranks, threads: mixing.threads)
        }
      }
    }
  }
}
