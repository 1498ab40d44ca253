import ArgumentParser
import Attention
import BuildStamp
import LongNet
import Settings
import Tensors

/// `gyre stream`: options and what can be said about them without looking at any file.
struct StreamCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stream",
    abstract: "Dilated attention of sequences that fit nowhere, one window after another.",
    usage: """
      mpirun -n P gyre stream INPUT --dilated LIST [options]
      mpirun -n P gyre stream --random BxNxHxKxD --dilated LIST [options]
      """,
    discussion: """
      LongNet's attention, forward: of each segment of W tokens every R-th row attends to every \
      R-th row, for each W:R of LIST, and the branches are merged by their softmax denominators. \
      The ranks take windows of the sequence in turn and need nothing of each other. A window is \
      read, computed and forgotten, with the few rows that it sees outside of itself: memory \
      depends on --window and not on the sequence. The result is measured, checked and summed up \
      in a digest, not kept.

      With --checkpoint a run can be stopped at any time, also by a signal, and the same command \
      goes on where it stopped. FILE.0, FILE.1, … hold what each rank has finished; they stay when \
      all is done, so that the same command then prints the same report again. Remove them to \
      start anew.
      """)

  @Argument(
    help: ArgumentHelp(
      "A .safetensors file with q, k and v, of equally many tokens.", valueName: "input"),
    completion: .file(extensions: ["safetensors"]))
  var input: String?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      """
      Instead of a file: standard-normal q, k and v of batch × tokens × query heads × KV heads × \
      head dim, which are generated where they are needed; one more number is the head dim of v.
      """,
      valueName: "BxNxHxKxD"),
    transform: RandomProblem.init(parsing:))
  var random: RandomProblem?

  @Option(
    parsing: .unconditional, help: "The seed of --random and of the rows that --verify chooses.")
  var seed: UInt64 = 0

  @OptionGroup(title: "Files")
  var files: FileOptions

  @Option(
    help: ArgumentHelp(
      """
      Segment lengths with dilation rates, 2048:1,4096:2,8192:4; or the first length, a ratio and \
      how many: geometric:2048,2,3.
      """,
      valueName: "list"),
    transform: DilatedBranchList.init(parsing:))
  var dilated: DilatedBranchList

  @Option(
    help: """
      Which row of a segment a head starts with: modulo: head h with h mod R, as in the paper; \
      grouped: neighbouring heads with the same, as in torchscale.
      """)
  var headOffset = HeadOffset.modulo

  @OptionGroup(title: "Masks")
  var masks: CausalOption

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Multiplies q·k. (default: 1/√headDim)", valueName: "x"))
  var scale: Double?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      """
      Tokens that a rank holds at a time. Longer windows read fewer rows twice; a multiple of the \
      shorter segments is best.
      """, valueName: "tokens"))
  var window = 1 << 18

  @Option(
    help: ArgumentHelp(
      "Note in FILE.0, FILE.1, … what is done, and go on from there.", valueName: "file"),
    completion: .file())
  var checkpoint: String?

  @OptionGroup var threading: ThreadOptions

  @OptionGroup var instructionOptions: InstructionOptions

  @Flag(
    help: """
      Check sampled rows, at the end, at borders of segments and anywhere, against a slow, \
      independent computation in double precision.
      """)
  var verify = false

  @Option(help: "What rank 0 prints: a table or one JSON object.")
  var report = ReportFormat.text

  @OptionGroup(title: "Settings")
  var layers: SettingsOptions

  func validate() throws {
    guard (input == nil) != (random == nil) else {
      throw ValidationError(
        input == nil
          ? "There is no input; name a .safetensors file, or give --random."
          : "Give only one input: there are the input file '\(input ?? "")' and --random.")
    }
    try files.check(isRandom: random != nil)
    guard (1...1 << 40).contains(window) else {
      throw ValidationError("--window is \(window); give a number of tokens from 1 to 2^40.")
    }
    if let scale, !scale.isFinite {
      throw ValidationError("--scale is \(scale); give a finite number.")
    }
    if checkpoint == "" {
      throw ValidationError("--checkpoint is empty; give the name of a file.")
    }
  }

  /// All that decides the result or how it is divided, by the names of the options: a checkpoint is
  /// of one such set.
  func settings(ranks: Int) -> [String: String] {
    [
      "--input-layout": "\(files.layout)", "--names": files.names.map { "\($0)" } ?? "",
      "input": input ?? random.map { "--random \($0)" } ?? "",
      "--seed": "\(seed)", "--dilated": "\(dilated)", "--head-offset": "\(headOffset)",
      "--scale": scale.map { "\($0)" } ?? "1/√headDim",
      "--window": "\(window)", "--verify": "\(verify)", "ranks": "\(ranks)",
      "gyre": BuildStamp.version,
    ].merging(masks.choice.options) { $1 }
  }
}

extension RandomProblem: CustomStringConvertible {
  /// As it is written on the command line.
  var description: String { "\(batch)x\(tokens)x\(queryHeads)x\(kvHeads)x\(headDim)" }
}
