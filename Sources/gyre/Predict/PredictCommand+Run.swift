import ArgumentParser
import Attention
import Benchmarks
import LongNet
import Plots
import Reporting
import Results
import ScalingModel
import SequenceParallel
import Sharding

extension PredictCommand {
  func run() throws {
    var files = RunFiles(settings: layers)
    for path in machines.results + check + fit { try files.read(path, as: "the results file") }
    try files.read(model, as: "--model")
    let picture = try output.map {
      try Picture($0).prepared(keep: keep) {
        try files.write($0, as: "--output", existing: overwriting.existing)
      }
    }
    let replayFolder = try simgrid.map {
      try ReplayFolder($0, processes: counts[0], in: &files, existing: overwriting.existing)
    }
    let rows = try machines.results.flatMap { try ResultsFile(reading: $0).rows }
    if !check.isEmpty {
      try checkModel(rows)
      return
    }
    if let model {
      try predictModel(model, rows: rows)
      return
    }
    if let mixer {
      try predictMixer(mixer, rows: rows, into: picture)
      return
    }
    let described = try machines.describe(
      HeadDims(shape), arithmetic, scoreRuleKinds, rows: rows,
      ranksPerHost: ranksPerHost)
    let cluster = described.cluster
    let turning = MeasuredTurning(rows)
    var results: [PredictResult] = []
    for pass in passes {
      for count in counts {
        let predicted = try predictions(
          ranks: count, pass, turned(cluster, by: turning, tokens: tokens(ranks: count)))
        results += transport == .auto ? [predicted.fastest].compactMap { $0 } : predicted
      }
    }
    let ranks = counts[0]
    if let replayFolder,
      let route = transports[0].route(ranks: ranks, ranksPerHost: ranksPerHost)
    {
      try Replay(denseProblem(ranks: ranks), ranks: ranks, route: route, on: cluster)
        .write(to: replayFolder)
    }
    let guesses =
      described.guesses + (position.pairing == nil ? [] : [turning.guess].compactMap { $0 })
      + (masks.window.etcRadius == nil ? [] : [Self.labelGuess])
      + machines.kernelGuesses(cluster.kernel, passes.map(\.pass))
      + (ranksPerHost > 1 ? [machines.insideGuess(rows: rows)].compactMap { $0 } : [])
    let report = BenchReport(
      results, in: Assumptions(cluster, tokens: results[0].tokens, guesses: guesses),
      remarks: [unserved].compactMap { $0 })
    if let picture { try draw(report, into: picture) }
    try printReport(report.text(table))
  }

  /// The ranks that some of the transports cannot serve, in a sentence; nil if all serve all.
  private var unserved: String? {
    guard dilated == nil, case .named(let transports) = transport ?? .all else { return nil }
    let sentences = transports.compactMap { kind -> String? in
      let missing = counts.filter { kind.route(ranks: $0, ranksPerHost: ranksPerHost) == nil }
      guard !missing.isEmpty else { return nil }
      return "\(kind.limits(ranksPerHost: ranksPerHost)), and not \(listed(missing.map(grouped)))"
    }
    return sentences.isEmpty ? nil : "Left out: \(sentences.joined(separator: "; "))."
  }

  private func draw(
    _ report: BenchReport<PredictResult, Assumptions>, into picture: PreparedPicture
  ) throws {
    let files = [try ResultsFile(Array(report.formatted(.json).utf8), path: "the prediction")]
    var figure = try PlotKind.predict.figure(
      PlotRows(files, benchmark: PredictResult.benchmark))
    figure.subtitle = files.place
    try picture.draw(GnuplotScript(figure, theme: .light))
  }

  /// How many ranks a host has.
  var ranksPerHost: Int {
    if let given = machines.ranksPerHost { return given }
    guard let hosts = hosts?.first, let ranks = ranks?.first else { return 1 }
    return (ranks + hosts - 1) / hosts
  }

  /// The numbers of ranks.
  var counts: [Int] {
    let given = ranks ?? hosts.map { $0.map { $0 * ranksPerHost } }
    guard sweep else { return given ?? [1, 2, 4, 8, 16, 32, 64] }
    let most = given?.first ?? 1024
    return Array(sequence(first: 1) { $0 * 2 < most ? $0 * 2 : nil }) + (most > 1 ? [most] : [])
  }

  /// What is predicted of dense attention.
  var transports: [PredictedTransport] {
    switch transport {
    case .named(let transports): return transports
    case .all, .auto: return PredictedTransport.all(ranksPerHost: ranksPerHost)
    case nil where !sweep: return [.ring]
    case nil:
      return ranksPerHost == 1
        ? [.ring, .heads]
        : [.ring, .hierarchical, .heads, .mesh(Mesh(heads: ranksPerHost, ring: 1))]
    }
  }

  private func checkModel(_ rows: [ResultRow]) throws {
    let check = try ModelCheck(
      fitting: fit.flatMap { try ResultsFile(reading: $0).rows },
      checking: check.flatMap { try ResultsFile(reading: $0).rows }, machines, rows)
    let results = check.results
    guard !check.heldOut.isEmpty else {
      throw ValidationError(
        "The files of --check have no runs of gyre bench strong or weak that can be predicted; "
          + "give some that have."
      )
    }
    let assumptions = FittedAssumptions(check, results)
    try printReport(BenchReport(results, in: assumptions).text(table))
  }

  var shape: AttentionShape {
    AttentionShape(
      batch: 1, queryHeads: heads, kvHeads: kvHeads ?? heads, headDim: headDim,
      valueHeadDim: valueHeadDim ?? headDim)
  }

  /// The machines with what turning the rows of a sequence takes them.
  private func turned(_ cluster: Cluster, by turning: MeasuredTurning, tokens: Int) -> Cluster {
    guard position.pairing != nil else { return cluster }
    var cluster = cluster
    let rows = Double(tokens) * Double(shape.queryHeads + shape.kvHeads)
    cluster.turningSeconds =
      rows * Double(position.ropeDim ?? headDim) / turning.columnsPerSecond
    return cluster
  }

  /// The layout asked for, or the best.
  private func chosenLayout(ranks: Int) -> Layout {
    if let layout { return layout }
    let tokens = tokens(ranks: ranks)
    let planner = LayoutPlanner(
      masks.choice.pattern(tokens: tokens, keyTokens: tokens), shape: shape, tokens: tokens,
      keyTokens: tokens, ranks: ranks)
    return planner.best().layout
  }

  /// The type asked for, or that which the arithmetic loses nothing by.
  var chosenWire: WireType { wire ?? (arithmetic == .bf16 ? .bf16 : .f32) }

  func tokens(ranks: Int) -> Int { tokens ?? (tokensPerRank ?? 1) * ranks }

  func denseProblem(ranks: Int) -> DenseProblem {
    DenseProblem(
      shape: shape, tokens: tokens(ranks: ranks), layout: chosenLayout(ranks: ranks),
      pattern: masks.choice, wire: chosenWire)
  }

  private func predictions(
    ranks: Int, _ pass: KernelPass, _ cluster: Cluster
  ) throws -> [PredictResult] {
    let tokens = tokens(ranks: ranks)
    if let dilated {
      let layout = layout ?? .contiguous
      let problem = try ShardedDilatedAttention(
        shape: shape, sharding: Sharding(layout, tokens: tokens, ranks: ranks),
        branches: dilated.branches, isCausal: masks.choice.isCausal)
      return placement.compactMap { name in
        name.placement.map { placement in
          let prediction = showingProgress {
            cluster.predict(problem, placement: placement, pass: pass.pass, progress: $0)
          }
          return result(prediction, pass, by: name.rawValue, tokens: tokens, layout)
        }
      }
    }
    let problem = denseProblem(ranks: ranks)
    return transports.compactMap { kind -> PredictResult? in
      guard let route = kind.route(ranks: ranks, ranksPerHost: ranksPerHost) else {
        return nil
      }
      let prediction = showingProgress {
        predict(problem, ranks: ranks, route: route, pass.pass, on: cluster, progress: $0)
      }
      return result(prediction, pass, by: kind.name, tokens: tokens, problem.layout)
    }
  }

  private func result(
    _ prediction: Prediction, _ pass: KernelPass, by transport: String, tokens: Int,
    _ layout: Layout
  ) -> PredictResult {
    let fields = PredictFields(
      pass: pass.rawValue, transport: transport, ranks: prediction.ranks, hosts: prediction.hosts,
      threads: machines.threads, tokens: tokens, queryHeads: heads, kvHeads: kvHeads ?? heads,
      headDim: headDim, valueHeadDim: shape.valueHeadDim, layout: layout.rawValue,
      wire: chosenWire.rawValue, arithmetic: arithmetic.field,
      softcap: Nullable(value: scoreRule.softcap), alibi: scoreRule.alibi,
      bias: scoreRule.bias, learnedSinks: scoreRule.learnedSinks,
      rope: Nullable(value: position.pairing?.rawValue), xpos: position.xpos,
      positionIds: position.positionIds, sinkPositions: position.sinkPositions.rawValue,
      globalProjections: globalProjections,
      seconds: prediction.seconds, computeSeconds: prediction.computeSeconds,
      exposedSeconds: prediction.exposedSeconds, imbalanceSeconds: prediction.imbalanceSeconds,
      bytesSentPerRank: prediction.bytesSentPerRank, residentBytes: prediction.residentBytes,
      flops: prediction.flops, flopsPerSecond: prediction.flops / prediction.seconds,
      efficiency: prediction.efficiency, limit: prediction.limit.rawValue)
    return WithPattern(masks.choice, fields)
  }
}

/// Runs a prediction, and tells on a terminal how far it is.
private func showingProgress(
  _ body: ((_ share: Double) -> Void) -> Prediction
) -> Prediction {
  var line = ProgressLine("prediction", total: 1000, on: Terminal.openForProgress())
  var done = 0
  let prediction = body { share in
    let now = Int(share * 1000)
    line.advance(by: now - done)
    done = now
  }
  line.clear()
  return prediction
}
