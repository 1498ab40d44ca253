import ArgumentParser
import Attention
import Benchmarks
import Jobs
import MPI
import Mixers
import Reporting
import Results
import SequenceParallel
import Settings

/// `gyre bench mix`: operators over longer and longer sequences.
struct MixBenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mix",
    abstract: "Operators of gyre mix over longer and longer sequences, against their bounds.",
    usage: "mpirun -n P gyre bench mix [OPERATORS] [options]",
    discussion: """
      All lengths and numbers of ranks of an operator take turns within one run, and between them \
      a core's multiply–add peak and the memory are measured; "× before" is the median of the \
      ratios to the length before. Passes are repeated on the same memory: what the system needs \
      to provide pages for the first time is not in them. The bound is what takes longer of the \
      operator's flops at the peak and its inputs and outputs at the rate of memory. \
      \(RankCounts.discussion) \(RankCounts.threads)
      """)

  @Argument(
    help: ArgumentHelp(
      """
      Operators, with +causal and +softplus where these mean something. (default: the usual form \
      of all whose work is linear in the tokens)
      """, valueName: "operators"),
    completion: .list(MixerCatalog.all.map { $0.name }), transform: MixerChoice.list(parsing:))
  var mixers: [MixerChoice]?

  @Option(
    name: .customLong("pass"), help: "Passes, of forward and backward. (default: forward,backward)",
    completion: .list(KernelPass.allCases.map(\.rawValue)),
    transform: { try parseNames($0, of: KernelPass.self) })
  var passes = KernelPass.allCases

  @Option(
    help: "Tokens of the whole sequence, one number or several. (default: 65536,262144)",
    transform: { try parseIntegers($0, in: 1...1 << 24) })
  var tokens = [65536, 262_144]

  @Option(
    help: ArgumentHelp(
      """
      The most tokens for which causal attention by the ring, of the same heads and head dim, is \
      measured too.
      """, valueName: "n"))
  var attentionLimit = 0

  @OptionGroup var sizes: MixerSizeOptions
  @OptionGroup var counts: RankCounts
  @OptionGroup var threading: ThreadOptions
  @OptionGroup(title: "Rounds") var rounds: RoundOptions
  @OptionGroup(title: "Output") var table: TableOptions
  @OptionGroup(title: "Settings") var layers: SettingsOptions

  func validate() throws {
    try table.check(MixerRow<MixerSpeed>.columns)
    guard attentionLimit >= 0 else {
      throw ValidationError("--attention-limit is \(attentionLimit); give tokens, or 0 for none.")
    }
    guard zip(tokens, tokens.dropFirst()).allSatisfy({ $0 < $1 }) else {
      throw ValidationError(
        "give --tokens in ascending order; times are compared with those before.")
    }
  }

  /// Those that are asked for.
  private func cases(threads: Int) throws -> [MixerCase] {
    func all(_ choices: [MixerChoice]) throws -> [MixerCase] {
      try choices.map { try $0.mixing(sizes.sizes, threads: threads) }
    }
    if let mixers { return try all(mixers) }
    return try all(MixerCatalog.all.map { try MixerChoice(parsing: $0.name) })
      .filter { try $0.isLinear }
  }
}

extension MixBenchCommand: DistributedCommand {
  /// Measures on all ranks and prints on rank 0.
  func run(on world: borrowing Communicator) throws {
    let threads = try threading.commonCount(on: world)
    let environment = try BenchEnvironment.gather(
      threads: threads, linkRate: LinkRate.announced, on: world)
    let cases = try world.agreed { try self.cases(threads: threads) }
    let bench = MixerBench(
      cases: cases, attention: (attention(threads: threads), attentionLimit), passes: passes,
      rounds: rounds.rounds, rankCounts: try counts.counts(on: world))
    var printer = RowPrinter<MixerRow<MixerSpeed>>(table, environment)
    try bench.measure(
      tokens: tokens, cores: environment.coresOfJob, progressOn: Terminal.forProgress(of: world),
      on: world
    ) { try printer.add($0, on: world) }
    try printer.finish(on: world)
  }

  /// What operators are compared with.
  private func attention(threads: Int) -> AttentionCase {
    let (heads, headDim) = (sizes.sizes.all["heads"] ?? 1, sizes.sizes.all["headDim"] ?? 1)
    let shape = AttentionShape(
      batch: 1, queryHeads: heads, kvHeads: heads, headDim: headDim, valueHeadDim: headDim)
    return AttentionCase(
      shape: shape, pattern: .causal, layout: nil, wire: .f32, threads: threads,
      transportName: "ring"
    ) { _, _, _ in .ring }
  }
}
