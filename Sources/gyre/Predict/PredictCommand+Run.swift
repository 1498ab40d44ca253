import Attention
import ScalingModel
import SequenceParallel
import Sharding

extension PredictCommand {
  func run() throws {
    let rows = try machines.results.flatMap { try ResultsFile(reading: $0).rows }
    if !check.isEmpty {
      try checkModel(rows)
      return
    }
    let cluster = try machines.cluster(shape: shape, rows: rows)
    var results: [PredictResult] = []
    for pass in passes {
      for count in counts {
        results += try predictions(ranks: count, pass, cluster)
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
  var counts: [Int] {
    guard sweep else { return ranks ?? [1, 2, 4, 8, 16, 32, 64] }
    let most = ranks?.first ?? 1024
    return Array(sequence(first: 1) { $0 * 2 < most ? $0 * 2 : nil }) + (most > 1 ? [most] : [])
  }

  /// What is predicted of dense attention.
  var transports: [PredictedTransport] {
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
      valueHeadDim: valueHeadDim ?? headDim)
  }

  private var chosenLayout: Layout { layout ?? (causal ? .zigzag : .contiguous) }

  private func tokens(ranks: Int) -> Int { tokens ?? (tokensPerRank ?? 1) * ranks }

  private func denseProblem(ranks: Int) -> DenseProblem {
    DenseProblem(
      shape: shape, tokens: tokens(ranks: ranks), layout: chosenLayout, isCausal: causal,
      wire: wire)
  }

  private func predictions(
    ranks: Int, _ pass: KernelPass, _ cluster: Cluster
  ) throws -> [PredictResult] {
    let tokens = tokens(ranks: ranks)
    if let dilated {
      let layout = layout ?? .contiguous
      let problem = DilatedProblem(
        shape: shape, tokens: tokens, layout: layout,
        pattern: DilatedPattern(
          branches: dilated.branches, headOffset: .modulo, queryHeads: heads, isCausal: causal))
      return placement.compactMap { name in
        name.placement.map { placement in
          let prediction = showingProgress {
            cluster.predict(
              problem, ranks: ranks, placement: placement, pass: pass.pass, progress: $0)
          }
          return result(prediction, pass, by: name.rawValue, tokens: tokens, layout)
        }
      }
    }
    let problem = denseProblem(ranks: ranks)
    return transports.compactMap { kind -> PredictResult? in
      guard let transport = kind.transport(ranks: ranks, ranksPerHost: machines.ranksPerHost) else {
        return nil
      }
      let prediction = showingProgress {
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
      headDim: headDim, valueHeadDim: shape.valueHeadDim, causal: causal, layout: layout.rawValue,
      wire: wire.rawValue,
      seconds: prediction.seconds, computeSeconds: prediction.computeSeconds,
      exposedSeconds: prediction.exposedSeconds, imbalanceSeconds: prediction.imbalanceSeconds,
      bytesSentPerRank: prediction.bytesSentPerRank, residentBytes: prediction.residentBytes,
      flops: prediction.flops, flopsPerSecond: prediction.flops / prediction.seconds,
      efficiency: prediction.efficiency, limit: prediction.limit.rawValue)
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
