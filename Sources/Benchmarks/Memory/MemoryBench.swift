import Hosts
package import MPI

/// Memory of a rank as sequences and jobs grow.
package struct MemoryBench {
  package let cases: [AttentionCase]
  package let passes: [KernelPass]

  package init(cases: [AttentionCase], passes: [KernelPass]) {
    self.cases = cases
    self.passes = passes
  }

  /// Runs each pass once for each number of tokens and ranks, called by all ranks of the job together.
  package func measure(
    tokens: [Int], rankCounts: [Int], on world: borrowing Communicator
  ) throws -> [AttentionResult<MemoryFigures>] {
    let before = ProcessMemory.residentBytes
    var results: [AttentionResult<MemoryFigures>] = []
    for pass in passes {
      for attention in cases {
        // The smallest shards first: a peak that cannot be set back would hide them.
        for ranks in rankCounts.reversed() {
          for tokens in tokens {
            results.append(
              try measure(pass, attention, tokens: tokens, ranks: ranks, before: before, on: world))
          }
        }
      }
    }
    return results
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
