import ArgumentParser
import Attention
import Benchmarks
import LongNet
import Mixers
import Plots
import Reporting
import Results
import ScalingModel
import SequenceParallel
import Settings
import Sharding

/// `gyre predict`: what jobs take on machines that are not here.
struct PredictCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "predict",
    abstract: "Time, efficiency, memory and bytes on machines that are not here.",
    discussion: """
      Steps the schedule of a job turn by turn and rank by rank, with speeds that are given or \
      were measured, and says what it assumes. Efficiency is against one rank that computes \
      everything in one piece.
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
    help: ArgumentHelp(
      "Numbers of ranks, as 64,1024. (default: 1,2,4,8,16,32,64; with --sweep 1024)",
      valueName: "list"),
    transform: { try parseIntegers($0, in: 1...mostRanks) })
  var ranks: [Int]?

  @Option(
    help: ArgumentHelp(
      """
      Instead of --ranks: numbers of hosts, each with --ranks-per-host. With one number of \
      --ranks: that many hosts share them.
      """, valueName: "list"),
    transform: { try parseIntegers($0, in: 1...mostRanks) })
  var hosts: [Int]?

  @Flag(
    help: """
      Predict numbers of ranks from 1 on, each twice the one before, up to --ranks, and draw where \
      it stops scaling, and why, into --output.
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

  @OptionGroup(title: "Masks")
  var masks: PatternOptions

  @OptionGroup(title: "Scores and positions")
  var scoreRule: ScoreRuleOptions

  @OptionGroup(title: "Scores and positions")
  var position: PositionOptions

  @Flag(
    help: """
      Rows of --globals are computed with projections of their own, as gyre attend does where the \
      input has q_global, k_global and v_global.
      """)
  var globalProjections = false

  @Option(
    help: "Which rank holds which tokens. (default: as attend, the best for mask and ranks)")
  var layout: Layout?

  @Option(
    help: "The type in which keys and values travel. (default: that of the arithmetic)")
  var wire: WireType?

  @Option(
    help: "Products of f32 or of bf16 numbers: which kernels measured in --results count.")
  var arithmetic = Arithmetic.f32

  @Option(
    name: .customLong("pass"), help: "Passes, of forward and backward. (default: forward)",
    completion: .list(KernelPass.allCases.map(\.rawValue)),
    transform: { try parseNames($0, of: KernelPass.self) })
  var passes = [KernelPass.forward]

  @Option(
    help: ArgumentHelp(
      """
      Transports, of ring, shared, hierarchical, query, heads and mesh:AxB, where B grows with the \
      ranks, or of these with what travels, as hierarchical+queries; or all that the hosts have; \
      or auto, the fastest of those. (default: ring; with --sweep ring, heads and what \
      --ranks-per-host adds)
      """,
      valueName: "list|all|auto"),
    transform: { try TransportRequest(parsing: $0) })
  var transport: TransportRequest?

  @Option(
    help: ArgumentHelp(
      "Instead of a transport: LongNet's branches, as for gyre attend.", valueName: "list"),
    transform: { try DilatedBranchList(parsing: $0) })
  var dilated: DilatedBranchList?

  @Option(
    help: ArgumentHelp(
      "Placements of --dilated. (default: sequence,units,rate)", valueName: "list"),
    transform: parsePlacements)
  var placement: [PlacementChoice] = [.sequence, .units, .rate]

  @Option(
    help: ArgumentHelp(
      """
      Instead of a pass: how fast this model reads --tokens as a prompt, and writes after them. \
      Results of gyre bench model on one rank tell how fast products are.
      """, valueName: "model"),
    completion: .file(extensions: ["gguf"]))
  var model: String?

  @Option(
    help: ArgumentHelp(
      """
      Instead of attention: this operator of gyre mix, with +causal or +softplus where that means \
      something. Results of gyre bench mix on one rank tell how fast it is. (default: attention)
      """, valueName: "operator"),
    completion: .list(MixerCatalog.all.map { $0.name }), transform: MixerChoice.init(parsing:))
  var mixer: MixerChoice?

  @OptionGroup var sizes: MixerSizeOptions

  @Option(
    help: ArgumentHelp(
      """
      Also write the forward pass for SimGrid's smpirun -replay into this folder; for one number \
      of ranks and one of ring, hierarchical and heads.
      """, valueName: "folder"),
    completion: .directory)
  var simgrid: String?

  @Option(
    help: ArgumentHelp(
      """
      Instead of a prediction: compare with the runs of gyre bench strong and weak in this file; \
      can be given several times.
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

  @OptionGroup(title: "Output") var table: TableOptions

  @OptionGroup var overwriting: OverwriteOptions

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
    try checkModelOptions()
    try checkMixerOptions()
    try table.check(columns)
    try requireHeads(heads, kvHeads)
    guard (1...AttentionShape.largestHeadDim).contains(headDim) else {
      throw ValidationError(
        "--head-dim is \(headDim); give a number from 1 to \(AttentionShape.largestHeadDim).")
    }
    if let valueHeadDim, !(1...AttentionShape.largestHeadDim).contains(valueHeadDim) {
      throw ValidationError(
        "--value-head-dim is \(valueHeadDim); give a number from 1 to "
          + "\(AttentionShape.largestHeadDim).")
    }
    try requireOwnRules()
    guard sweep == (output != nil), sweep || !keep else {
      throw ValidationError("--sweep draws into --output; give both.")
    }
    if let output { _ = try asOption { try Picture(output) } }
    guard !sweep || (ranks ?? hosts).map({ $0.count == 1 }) ?? true else {
      throw ValidationError("--sweep goes up to one number of ranks or hosts; give the largest.")
    }
    try checkHosts()
    let ranks = counts
    try checkSizes(ranks)
    try checkTransports(ranks)
    try checkMasks(ranks)
    if let tokens, let most = ranks.max(), tokens < most {
      throw ValidationError(
        "--tokens is \(tokens) and there are \(most) ranks; give each a token.")
    }
    if simgrid != nil {
      let replayed: [PredictedTransport] = [.ring, .hierarchical, .heads]
      guard ranks.count == 1, transport != .auto, transports.count == 1,
        replayed.contains(transports[0]),
        passes == [.forward], dilated == nil, machines.noise == 0, machines.coresPerHost == nil
      else {
        throw ValidationError(
          "--simgrid replays one forward pass without noise on cores of its own; give one number "
            + "of --ranks and one --transport of ring, hierarchical and heads.")
      }
    }
    if dilated != nil, let most = ranks.max(), most > Cluster.mostDilatedRanks {
      throw ValidationError(
        "--dilated works out every segment of up to \(Cluster.mostDilatedRanks) ranks; leave "
          + "\(most) out.")
    }
  }

  /// Those that the table may have.
  private var columns: [String] {
    if model != nil { return ModelPredictResult.columns }
    if mixer != nil { return MixerPredictResult.columns }
    return check.isEmpty ? PredictResult.columns : ModelCheckResult.columns
  }

  /// The most ranks for whose every pair a mask is asked, that is not known in closed form.
  static let mostAskedRanks = 4096

  /// Tokens for which masks of the input are drawn, each with a number of its own.
  static let mostDrawnTokens = 1 << 24
  /// The most ranks whose every turn is stepped.
  static let mostRanks = 100_000
  /// Far beyond any sequence, and far from where products of positions overflow.
  static let mostTokens = 1 << 40

  private func checkHosts() throws {
    guard let hosts else { return }
    let most = hosts.max() ?? 1
    guard let ranks else {
      let (count, overflows) = most.multipliedReportingOverflow(by: ranksPerHost)
      guard !overflows, count <= Self.mostRanks else {
        throw ValidationError(
          "\(most) hosts of \(ranksPerHost) ranks are more than \(grouped(Self.mostRanks)) ranks; "
            + "give fewer --hosts or --ranks-per-host.")
      }
      return
    }
    guard hosts.count == 1, ranks.count == 1, most <= ranks[0] else {
      throw ValidationError(
        "--ranks and --hosts together are one number each, and every host has a rank; or leave "
          + "--ranks out.")
    }
    if let given = machines.ranksPerHost, (ranks[0] + given - 1) / given != most {
      throw ValidationError(
        "\(ranks[0]) ranks, \(given) a host, are not on \(most) hosts; leave one of --ranks, "
          + "--hosts and --ranks-per-host out.")
    }
  }

  /// Refuses transports none of which can serve any of the ranks.
  private func checkTransports(_ ranks: [Int]) throws {
    guard dilated == nil, check.isEmpty,
      !transports.contains(where: { kind in
        ranks.contains { kind.route(ranks: $0, ranksPerHost: ranksPerHost) != nil }
      })
    else { return }
    let able = [PredictedTransport.ring, .query, .heads].map(\.name).joined(separator: ", ")
    let limits = transports.map { $0.limits(ranksPerHost: ranksPerHost) }
    throw ValidationError(
      "\(limits.joined(separator: "; ")), and not \(listed(ranks.map(grouped))); name another "
        + "--transport (\(able) serve any number).")
  }

  /// Refuses sizes beyond what can be counted.
  private func checkSizes(_ ranks: [Int]) throws {
    if let tokensPerRank, let most = ranks.max(), tokensPerRank > Self.mostTokens / most {
      throw ValidationError(
        "\(most) ranks of \(tokensPerRank) tokens are more than 2^40 tokens in all; give fewer.")
    }
    let longest = tokens ?? (tokensPerRank ?? 1) * (ranks.max() ?? 1)
    guard Double(longest) * Double(heads) * Double(headDim) < 0x1p56 else {
      throw ValidationError(
        "\(grouped(longest)) tokens of \(heads) heads and head dim \(headDim) are more than can be "
          + "counted; give fewer --tokens or --heads.")
    }
    guard let dilated else { return }
    var (pairs, segments) = (0.0, 0.0)
    for branch in dilated.branches {
      let length = Double(min(branch.segmentLength, longest))
      let rows = length / Double(branch.dilationRate) + 1
      pairs += (Double(longest) / length + 1) * rows * rows * Double(heads)
      segments += (Double(longest) / length + 1) * Double(min(branch.dilationRate, heads))
    }
    guard pairs < 0x1p60 else {
      throw ValidationError(
        "--dilated lets more pairs see each other than can be counted; give shorter segments, "
          + "higher rates or fewer --tokens.")
    }
    guard segments < 0x1p24 else {
      throw ValidationError(
        "--dilated lays out \(fixed(segments, 0)) segments, and up to 16,777,216 are worked out; "
          + "give longer segments or fewer --tokens.")
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
  guard let number, number >= 1, number <= PredictCommand.mostTokens / (factor ?? 1) else {
    throw ValidationError("give a number of tokens up to 2^40, as 1048576 or 1M.")
  }
  return number * (factor ?? 1)
}
