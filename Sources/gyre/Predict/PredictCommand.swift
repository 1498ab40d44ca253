import ArgumentParser
import Attention
import ScalingModel
import SequenceParallel
import Sharding

/// `gyre predict`: what jobs take on machines that are not here.
struct PredictCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "predict",
    abstract: "Time, efficiency, memory and bytes on machines that are not here.",
    discussion: """
      Steps the schedule of a job turn by turn and rank by rank, with speeds that are given or were \
      measured, and says what it assumes. Efficiency is against one rank that computes everything in \
      one piece.
      """)

  @Option(
    help: ArgumentHelp("Tokens of the sequence, as 1048576 or 1M.", valueName: "n"),
    transform: { try parseTokens($0) })
  var tokens: Int?

  @Option(
    help: ArgumentHelp("Instead of --tokens: tokens of each rank.", valueName: "n"),
    transform: { try parseTokens($0) })
  var tokensPerRank: Int?

  @Option(
    help: ArgumentHelp("Numbers of ranks, as 64,1024.", valueName: "list"),
    transform: { try parseIntegers($0, in: 1...100_000) })
  var ranks: [Int]?

  @Flag(
    help: """
      Predict numbers of ranks from 1 on, each twice the one before, up to --ranks, and draw where it \
      stops scaling, and why, into --output.
      """)
  var sweep = false

  @Option(
    help: ArgumentHelp(
      "The picture of --sweep; it ends in .svg, .png or .pdf.", valueName: "file"),
    completion: .file(extensions: ["svg", "png", "pdf"]))
  var output: String?

  @Flag(help: "Keep data and script beside the picture, as NAME.csv and NAME.gp.")
  var keep = false

  @Option(help: ArgumentHelp("Query heads.", valueName: "n"))
  var heads = 8

  @Option(
    help: ArgumentHelp(
      "KV heads. (default: as many as there are query heads)", valueName: "n"))
  var kvHeads: Int?

  @Option(help: ArgumentHelp("Head dim.", valueName: "n"))
  var headDim = 64

  @Option(
    help: ArgumentHelp("Head dim of the values. (default: the head dim)", valueName: "n"))
  var valueHeadDim: Int?

  @Flag(help: "A query sees the keys up to its own position.")
  var causal = false

  @Option(
    help: "Which rank holds which tokens. (default: zigzag with --causal, contiguous without)")
  var layout: Layout?

  @Option(help: "The type in which keys and values travel.")
  var wire = WireType.f32

  @Option(
    name: .customLong("pass"), help: "Passes, of forward and backward.",
    transform: { try parseNames($0, of: KernelPass.self) })
  var passes = [KernelPass.forward]

  @Option(
    help: ArgumentHelp(
      """
      Transports, of ring, shared, hierarchical, query, heads and mesh:AxB, where B grows with the \
      ranks. (default: ring; with --sweep all that the hosts have)
      """,
      valueName: "list"),
    transform: { try PredictedTransport.parse($0) })
  var transport: [PredictedTransport]?

  @Option(
    help: ArgumentHelp(
      "Instead of a transport: LongNet's branches, as for gyre attend.", valueName: "list"),
    transform: { try DilatedBranchList(parsing: $0) })
  var dilated: DilatedBranchList?

  @Option(
    help: ArgumentHelp("Placements of --dilated.", valueName: "list"),
    transform: parsePlacements)
  var placement: [PlacementChoice] = [.sequence, .units, .rate]

  @Option(
    help: ArgumentHelp(
      """
      Also write the forward pass for SimGrid's smpirun -replay into this folder; for one number of \
      ranks and one of ring, hierarchical and heads.
      """, valueName: "folder"),
    completion: .directory)
  var simgrid: String?

  @Option(
    help: ArgumentHelp(
      """
      Instead of a prediction: compare with the runs of gyre bench strong and weak in this file; can \
      be given several times.
      """, valueName: "file"),
    completion: .file(extensions: ["json", "jsonl"]))
  var check: [String] = []

  @Option(
    help: ArgumentHelp(
      "With --check: fit the model to the runs of this file first.", valueName: "file"),
    completion: .file(extensions: ["json", "jsonl"]))
  var fit: [String] = []

  @OptionGroup(title: "Machines")
  var machines: ClusterOptions

  @Option(help: "A table, one JSON object, or rows for other programs.")
  var format = TableFormat.text

  @OptionGroup(title: "Settings")
  var layers: SettingsOptions

  func validate() throws {
    guard fit.isEmpty || !check.isEmpty else {
      throw ValidationError("--fit is for --check; give the runs to check too.")
    }
    guard check.isEmpty || tokens == nil && tokensPerRank == nil && dilated == nil else {
      throw ValidationError("--check predicts what its files hold; leave other problems out.")
    }
    guard !check.isEmpty || (tokens == nil) != (tokensPerRank == nil) else {
      throw ValidationError("Give one of --tokens and --tokens-per-rank.")
    }
    let kvHeads = kvHeads ?? heads
    guard heads >= 1, kvHeads >= 1, heads % kvHeads == 0 else {
      throw ValidationError("--heads must be a multiple of --kv-heads, both at least 1.")
    }
    guard (1...AttentionShape.largestHeadDim).contains(headDim) else {
      throw ValidationError(
        "--head-dim is \(headDim); give a number from 1 to \(AttentionShape.largestHeadDim).")
    }
    if let valueHeadDim, !(1...AttentionShape.largestHeadDim).contains(valueHeadDim) {
      throw ValidationError(
        "--value-head-dim is \(valueHeadDim); give a number from 1 to "
          + "\(AttentionShape.largestHeadDim).")
    }
    guard sweep == (output != nil), sweep || !keep else {
      throw ValidationError("--sweep draws into --output; give both.")
    }
    if let output { _ = try Picture(output) }
    guard !sweep || ranks.map({ $0.count == 1 }) ?? true else {
      throw ValidationError("--sweep goes up to one number of --ranks; give the largest.")
    }
    let ranks = counts
    if let tokens, let most = ranks.max(), tokens < most {
      throw ValidationError(
        "--tokens is \(tokens) and there are \(most) ranks; give each a token.")
    }
    if simgrid != nil {
      let replayed: [PredictedTransport] = [.ring, .hierarchical, .heads]
      guard ranks.count == 1, transports.count == 1, replayed.contains(transports[0]),
        passes == [.forward], dilated == nil, machines.noise == 0, machines.coresPerHost == nil
      else {
        throw ValidationError(
          "--simgrid replays one forward pass without noise on cores of its own; give one number of "
            + "--ranks and one --transport of ring, hierarchical and heads.")
      }
    }
    if dilated != nil, let most = ranks.max(), most > Cluster.mostDilatedRanks {
      throw ValidationError(
        "--dilated works out every segment of up to \(Cluster.mostDilatedRanks) ranks; leave "
          + "\(most) out.")
    }
  }
}

/// Parses `rate,units`.
@Sendable
private func parsePlacements(_ text: String) throws -> [PlacementChoice] {
  let names = try parseNames(text, of: PlacementChoice.self)
  guard !names.contains(.auto) else {
    throw ValidationError("'auto' cannot be predicted; name the placements themselves.")
  }
  return names
}

/// Parses `1048576`, `64K`, `1M` or `1G`: tokens, in steps of 1,024.
func parseTokens(_ text: String) throws -> Int {
  let factors: [Character: Int] = ["k": 1 << 10, "m": 1 << 20, "g": 1 << 30]
  let factor = text.lowercased().last.flatMap { factors[$0] }
  let number = Int(factor == nil ? text[...] : text.dropLast())
  guard let number, number >= 1, number <= (1 << 50) / (factor ?? 1) else {
    throw ValidationError("give a number of tokens, as 1048576 or 1M.")
  }
  return number * (factor ?? 1)
}
