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
    transform: { try parseNames($0, of: PlacementName.self) })
  var placement = PlacementName.allCases

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

  func run() throws {
    let rows = try machines.results.flatMap { try ResultsFile(reading: $0).rows }
    if !check.isEmpty {
      try checkModel(rows)
      return
    }
    let cluster = try machines.cluster(headDim: headDim, rows: rows)
    var results: [PredictResult] = []
    let meter = PredictionMeter()
    for pass in passes {
      for count in counts {
        results += try predictions(ranks: count, pass, cluster, meter)
      }
    }
    guard !results.isEmpty else {
      throw UserError("None of the transports can serve any of these numbers of ranks.")
    }
    let ranks = counts[0]
    if let simgrid,
      let transport = transports[0].transport(ranks: ranks, ranksPerHost: machines.ranksPerHost)
    {
      try Replay(denseProblem(ranks: ranks), ranks: ranks, transport: transport, on: cluster)
        .write(to: simgrid)
    }
    let report = BenchReport(results, in: Assumptions(cluster, tokens: results[0].tokens))
    if let output { try draw(report, into: output) }
    write(try report.formatted(format) + "\n", to: 1)
  }

  private func draw(
    _ report: BenchReport<PredictResult, Assumptions>, into output: String
  ) throws {
    let files = [try ResultsFile(Array(report.formatted(.json).utf8), path: "the prediction")]
    var figure = try PlotKind.predict.figure(
      PlotRows(files, benchmark: PredictResult.benchmark))
    figure.subtitle = files.place
    try Picture(output).draw(GnuplotScript(figure, theme: .light), keep: keep)
  }

  /// The numbers of ranks.
  private var counts: [Int] {
    guard sweep else { return ranks ?? [1, 2, 4, 8, 16, 32, 64] }
    let most = ranks?.first ?? 1024
    return Array(sequence(first: 1) { $0 * 2 < most ? $0 * 2 : nil }) + (most > 1 ? [most] : [])
  }

  /// What is predicted of dense attention.
  private var transports: [PredictedTransport] {
    if let transport { return transport }
    let perHost = machines.ranksPerHost
    return !sweep
      ? [.ring]
      : perHost == 1
        ? [.ring, .heads]
        : [.ring, .hierarchical, .heads, .mesh(Mesh(heads: perHost, ring: 1))]
  }

  private func checkModel(_ rows: [ResultRow]) throws {
    let check = try ModelCheck(
      fitting: fit.flatMap { try ResultsFile(reading: $0).rows },
      checking: check.flatMap { try ResultsFile(reading: $0).rows }, machines, rows)
    let results = check.results
    guard !check.heldOut.isEmpty else {
      throw UserError("The files of --check have no runs of gyre bench strong or weak.")
    }
    let assumptions = FittedAssumptions(check.calibration, results)
    write(try BenchReport(results, in: assumptions).formatted(format) + "\n", to: 1)
  }

  private var shape: AttentionShape {
    AttentionShape(
      batch: 1, queryHeads: heads, kvHeads: kvHeads ?? heads, headDim: headDim,
      valueHeadDim: headDim)
  }

  private var chosenLayout: Layout { layout ?? (causal ? .zigzag : .contiguous) }

  private func tokens(ranks: Int) -> Int { tokens ?? (tokensPerRank ?? 1) * ranks }

  private func denseProblem(ranks: Int) -> DenseProblem {
    DenseProblem(
      shape: shape, tokens: tokens(ranks: ranks), layout: chosenLayout, isCausal: causal,
      wire: wire)
  }

  private func predictions(
    ranks: Int, _ pass: KernelPass, _ cluster: Cluster, _ meter: PredictionMeter
  ) throws -> [PredictResult] {
    let tokens = tokens(ranks: ranks)
    if let dilated {
      let problem = DilatedProblem(
        shape: shape, tokens: tokens, layout: layout ?? .contiguous,
        pattern: DilatedPattern(
          branches: dilated.branches, headOffset: .modulo, queryHeads: heads, isCausal: causal))
      return placement.map { name in
        let prediction = meter.measuring {
          cluster.predict(
            problem, ranks: ranks, placement: name.placement, pass: pass.pass, progress: $0)
        }
        return result(prediction, pass, by: name.rawValue, tokens: tokens, .contiguous)
      }
    }
    let problem = denseProblem(ranks: ranks)
    return transports.compactMap { kind -> PredictResult? in
      guard let transport = kind.transport(ranks: ranks, ranksPerHost: machines.ranksPerHost) else {
        return nil
      }
      let prediction = meter.measuring {
        cluster.predict(
          problem, ranks: ranks, transport: transport, pass: pass.pass, progress: $0)
      }
      return result(prediction, pass, by: kind.name, tokens: tokens, chosenLayout)
    }
  }

  private func result(
    _ prediction: Prediction, _ pass: KernelPass, by transport: String, tokens: Int,
    _ layout: Layout
  ) -> PredictResult {
    PredictResult(
      pass: pass.rawValue, transport: transport, ranks: prediction.ranks, hosts: prediction.hosts,
      threads: machines.threads, tokens: tokens, queryHeads: heads, kvHeads: kvHeads ?? heads,
      headDim: headDim, causal: causal, layout: layout.rawValue, wire: wire.rawValue,
      seconds: prediction.seconds, computeSeconds: prediction.computeSeconds,
      exposedSeconds: prediction.exposedSeconds, imbalanceSeconds: prediction.imbalanceSeconds,
      bytesSentPerRank: prediction.bytesSentPerRank, residentBytes: prediction.residentBytes,
      flops: prediction.flops, flopsPerSecond: prediction.flops / prediction.seconds,
      efficiency: prediction.efficiency, limit: prediction.limit.rawValue)
  }
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
