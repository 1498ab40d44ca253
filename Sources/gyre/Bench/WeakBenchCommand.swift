import ArgumentParser
import Attention
import Benchmarks
import MPI
import Results
import Settings

/// `gyre bench weak`: as many tokens a rank on more and more ranks.
struct WeakBenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "weak",
    abstract: "Weak scaling: as many tokens a rank on more and more ranks.",
    usage: "mpirun -n P gyre bench weak [options]",
    discussion: """
      The attention of a rank grows with the sequence, so efficiency is of the rate: flops a \
      second and rank, over those of the baseline. \(RankCounts.discussion) Otherwise as strong.
      """)

  @Option(
    help: "Tokens of each rank, one number or several. (default: 4096)",
    transform: { try parseIntegers($0, in: 1...1 << 24) })
  var tokens = [4096]

  @OptionGroup var counts: RankCounts
  @OptionGroup(title: "Operators") var mixing: MixerScalingOptions
  @OptionGroup(title: "Attention") var attention: AttentionOptions
  @OptionGroup(title: "Rounds") var rounds: RoundOptions
  @OptionGroup(title: "Output") var table: TableOptions
  @OptionGroup(title: "Settings") var layers: SettingsOptions

  func validate() throws {
    try table.check(
      mixing.mixers == nil
        ? AttentionResult<ScalingFigures>.columns : MixerRow<ScalingFigures>.columns)
  }
}

extension WeakBenchCommand: DistributedCommand, ComputingCommand {
  var instructionOptions: InstructionOptions { attention.instructionOptions }
  var arithmetics: [Arithmetic] { attention.arithmetics }

  /// Measures on all ranks and prints on rank 0.
  func run(on world: borrowing Communicator) throws {
    let tokens = tokens.map { tokens in { (ranks: Int) in tokens * ranks } }
    guard let mixers = mixing.mixers else {
      return try runScaling("weak", tokens, counts, attention, rounds, table, on: world)
    }
    try mixing.run("weak", mixers, tokens, counts, attention, rounds, table, on: world)
  }
}
