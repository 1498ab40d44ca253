import Attention
import Hosts
package import Reporting

/// The kernel in one process, on one problem after the other.
package struct KernelBench {
  /// What is measured for a row.
  private let runs: [(pass: KernelPass, problem: KernelBenchProblem)]
  private let repeats: Int

  package init(_ runs: [(pass: KernelPass, problem: KernelBenchProblem)], repeats: Int) {
    self.runs = runs
    self.repeats = repeats
  }

  /// Measures.
  ///
  /// - Parameters:
  ///   - cores: of this process.
  ///   - place: where somebody watches.
  ///   - emit: takes a row that is done.
  package func measure(
    cores: Int, progressOn place: ProgressPlace?, emit: (KernelBenchResult) throws -> Void
  ) throws {
    for run in runs {
      try HostMemory.current.require(
        run.problem.residentBytes(run.pass),
        for: "\(grouped(run.problem.tokens)) tokens of \(run.problem.shape.queryHeads) query heads",
        remedy: "give fewer --tokens or --heads", isOfArguments: true)
    }
    let memory = MemoryBandwidth()
    let speed = EstimatedSpeed(cores: cores)
    // Memory is read beside each round.
    let reading = BenchClock.wall.seconds {
      _ = memory.bytesPerSecond(team: ThreadTeam(threads: 1))
    }
    let seconds = runs.map { run in
      Double(repeats + 1) * (run.problem.seconds(run.pass, speed) + reading)
    }
    var progress = AnnouncedProgress("kernel", "row", seconds: seconds, on: place)
    for (index, run) in runs.enumerated() {
      let row = try run.problem.measure(run.pass, repeats: repeats, memory) {
        progress.advance(index, by: 1 / Double(repeats + 1))
      }
      progress.clear()
      try emit(row)
    }
  }
}
