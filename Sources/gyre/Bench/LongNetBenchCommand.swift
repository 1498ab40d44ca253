import ArgumentParser
import Attention
import Benchmarks
import Jobs
import LongNet
import MPI
import Reporting
import Results
import Settings

/// `gyre bench longnet`: dilated attention against dense attention as sequences grow.
struct LongNetBenchCommand: ComputingCommand {
  static let configuration = CommandConfiguration(
    commandName: "longnet",
    abstract: "Dilated attention (LongNet) as sequences grow, next to dense attention.",
    discussion: """
      Runs the distributed operator on one rank, in one process: rows are gathered, computed on \
      and merged. All numbers of tokens, dilated and dense, and the multiply–add peak alternate \
      within one run; ratios are medians over its rounds. Flops are those of the pairs that a \
      branch selects, so that rates compare kernels, and times compare operators.
      """)

  @Option(
    help: "Numbers of tokens, joined by commas. (default: 16384,65536,262144)",
    transform: { try parseIntegers($0, in: 1...1 << 24) })
  var tokens = [16384, 65536, 262_144]

  @Option(
    help: ArgumentHelp(
      """
      Branches, as segment length:dilation rate,… or geometric:W0,R,COUNT. (default: from 2048:1, \
      both doubled until a segment holds the sequence)
      """),
    transform: { try DilatedBranchList(parsing: $0) })
  var dilated: DilatedBranchList?

  @Option(help: "The most tokens for which dense attention is measured too; 0 for none.")
  var denseLimit = 65536

  @Option(
    name: .customLong("pass"), help: "Passes, of forward and backward. (default: forward,backward)",
    completion: .list(KernelPass.allCases.map(\.rawValue)),
    transform: { try parseNames($0, of: KernelPass.self) })
  var passes = KernelPass.allCases

  @Option(
    name: .customLong("head-dim"), help: "Head dims, joined by commas. (default: 64)",
    transform: { try parseIntegers($0, in: 1...AttentionShape.largestHeadDim) })
  var headDims = [64]

  @Option(help: "Query heads.")
  var heads = 1

  @Option(help: "KV heads. (default: as many as there are query heads)")
  var kvHeads: Int?

  @OptionGroup(title: "Masks") var masks: PatternListOptions

  @Option(
    help: """
      Numbers of threads, joined by commas. (default: auto, as many as there are cores; 1 for \
      --clock cpu)
      """,
    transform: ThreadCount.list(parsing:))
  var threads: [ThreadCount]?

  @OptionGroup var instructionOptions: InstructionOptions

  @Option(
    help: "Time on the clock, or of the processor: for a machine that others use too, one thread.")
  var clock = BenchClock.wall

  @Option(help: "How often each is measured.")
  var repeats = 5

  @OptionGroup(title: "Output") var table: TableOptions

  @OptionGroup(title: "Settings")
  var layers: SettingsOptions

  func validate() throws {
    try requireHeads(heads, kvHeads)
    try table.check(LongNetBenchResult.columns)
    guard zip(tokens, tokens.dropFirst()).allSatisfy({ $0 < $1 }) else {
      throw ValidationError(
        "give --tokens in ascending order; times are compared with those before.")
    }
    guard denseLimit >= 0 else {
      throw ValidationError("--dense-limit is \(denseLimit); give a number of tokens, or 0.")
    }
    guard clock == .wall || threads == nil || threads == [.exactly(1)] else {
      throw ValidationError("--clock cpu adds up the time of all threads; give --threads 1.")
    }
    guard (1...1000).contains(repeats) else {
      throw ValidationError("--repeats is \(repeats); give a number from 1 to 1000.")
    }
  }

  private var threadCounts: [Int] {
    (threads ?? [clock == .cpu ? .exactly(1) : .automatic]).map(\.alone)
  }

  /// The branches for so many tokens.
  private func branches(tokens: Int) throws -> DilatedBranchList {
    if let dilated { return dilated }
    var count = 1
    while 2048 << (count - 1) < tokens { count += 1 }
    return try DilatedBranchList(parsing: "geometric:2048,2,\(count)")
  }
}

extension LongNetBenchCommand: DistributedCommand {
  /// Measures on rank 0 alone, as the other benchmarks do.
  func run(on world: borrowing Communicator) throws {
    guard let alone = try world.split(color: world.rank == 0 ? 0 : nil) else { return }
    let environment = BenchEnvironment.current(
      threads: threadCounts.max() ?? 1, linkRate: LinkRate.announced)
    let benches = benches
    try alone.agreed {
      for bench in benches { try bench.check(tokens: tokens, denseLimit: denseLimit) }
    }
    let branches = { (tokens: Int) in try self.branches(tokens: tokens).branches }
    let seconds = try benches.map {
      try $0.seconds(
        tokens: tokens, denseLimit: denseLimit, repeats: repeats, cores: environment.cores,
        branches: branches)
    }
    var progress = AnnouncedProgress(
      "longnet", "comparison", seconds: seconds, on: Terminal.forProgress(of: alone))
    var printer = RowPrinter<LongNetBenchResult>(table, environment)
    for (index, bench) in benches.enumerated() {
      let rows = try bench.measure(
        tokens: tokens, denseLimit: denseLimit, repeats: repeats, on: alone,
        contestantIsOver: { progress.advance(index, by: $0) }, branches: branches)
      progress.clear()
      try printer.add(rows, on: alone)
    }
    try printer.finish(on: alone)
  }

  /// Every combination of what is not compared within one.
  private var benches: [LongNetBench] {
    var benches: [LongNetBench] = []
    for pass in passes {
      for headDim in headDims {
        for pattern in masks.choices(usual: .both) {
          for threads in threadCounts {
            benches.append(
              LongNetBench(
                shape: AttentionShape(
                  batch: 1, queryHeads: heads, kvHeads: kvHeads ?? heads, headDim: headDim,
                  valueHeadDim: headDim),
                pass: pass, pattern: pattern, threads: threads, clock: clock))
          }
        }
      }
    }
    return benches
  }
}
