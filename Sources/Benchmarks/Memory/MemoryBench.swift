import Hosts
package import MPI
package import Reporting

/// Memory of a rank as sequences and jobs grow.
package struct MemoryBench {
  package let cases: [AttentionCase]
  package let passes: [KernelPass]

  package init(cases: [AttentionCase], passes: [KernelPass]) {
    self.cases = cases
    self.passes = passes
  }

  /// Runs each pass once for each number of tokens and ranks, called by all ranks of the job
  /// together.
  ///
  /// - Parameters:
  ///   - cores: of the job.
  ///   - place: where somebody watches; nil on all ranks but 0.
  ///   - emit: takes a row, on rank 0; called by all ranks.
  package func measure(
    tokens: [Int], rankCounts: [Int], cores: Int, progressOn place: ProgressPlace?,
    on world: borrowing Communicator, emit: ([AttentionResult<MemoryFigures>]) throws -> Void
  ) throws {
    let before = ProcessMemory.residentBytes
    let speed = EstimatedSpeed(cores: cores)
    let runs = runs(tokens: tokens, rankCounts: rankCounts)
    let seconds = runs.map { run in
      speed.seconds(
        flops: run.attention.flops(run.pass, tokens: run.tokens), ranks: run.ranks,
        threads: run.attention.threads)
    }
    var progress: AnnouncedProgress?
    for (index, run) in runs.enumerated() {
      let row = try measure(run, before: before, on: world) {
        progress = progress ?? AnnouncedProgress("memory", "run", seconds: seconds, on: place)
      }
      progress?.advance(index)
      progress?.clear()
      try emit(world.rank > 0 ? [] : [row])
    }
  }

  /// What is measured for a row.
  private struct Run {
    let pass: KernelPass
    let attention: AttentionCase
    let ranks: Int
    let tokens: Int
  }

  private func runs(tokens: [Int], rankCounts: [Int]) -> [Run] {
    passes.flatMap { pass in
      cases.flatMap { attention in
        // The smallest shards first: a peak that cannot be set back would hide them.
        rankCounts.reversed().flatMap { ranks in
          tokens.map { Run(pass: pass, attention: attention, ranks: ranks, tokens: $0) }
        }
      }
    }
  }

  /// - Parameter isReady: called when nothing is in the way of the run any more.
  private func measure(
    _ run: Run, before: Int, on world: borrowing Communicator, isReady: () -> Void
  ) throws -> AttentionResult<MemoryFigures> {
    let (pass, ranks) = (run.pass, run.ranks)
    let isReset = ProcessMemory.resetPeak()
    let setup = try AttentionSetup(
      run.attention, tokens: run.tokens, ranks: ranks, passes: [pass], parts: [.all], on: world)
    isReady()
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
