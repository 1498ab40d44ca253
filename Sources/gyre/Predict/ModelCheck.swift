import Attention
import ScalingModel
import SequenceParallel
import Sharding

/// Predictions against runs that were measured, those that the model was fitted to and others.
struct ModelCheck {
  /// A run and its names.
  struct Run {
    let row: ResultRow
    let measured: MeasuredRun
  }

  let calibration: Calibration
  let fitted: [Run]
  let heldOut: [Run]

  /// Reads runs of gyre bench strong and weak from rows of results files.
  ///
  /// - Parameter options: what the files do not say about the machines.
  init(fitting: [ResultRow], checking: [ResultRow], _ options: ClusterOptions, _ known: [ResultRow])
    throws
  {
    fitted = try fitting.compactMap { try Self.run($0, options, known) }
    heldOut = try checking.compactMap { try Self.run($0, options, known) }
    calibration = fitted.isEmpty ? Calibration() : Calibration(fitting: fitted.map(\.measured))
  }

  /// The run of a row; nil if it is none that can be predicted.
  private static func run(
    _ row: ResultRow, _ options: ClusterOptions, _ known: [ResultRow]
  ) throws -> Run? {
    guard ["strong", "weak"].contains(row.benchmark), let ranks = row.fields["ranks"]?.int,
      let tokens = row.fields["tokens"]?.int, let headDim = row.fields["headDim"]?.int,
      let queryHeads = row.fields["queryHeads"]?.int, let kvHeads = row.fields["kvHeads"]?.int,
      let isCausal = row.fields["causal"]?.bool, let seconds = row["seconds"],
      let layout = row.fields["layout"]?.string.flatMap(Layout.init(rawValue:)),
      let wire = row.fields["wire"]?.string.flatMap(WireType.init(rawValue:)),
      let pass = row.fields["pass"]?.string.flatMap(KernelPass.init(rawValue:)),
      let hosts = row.fields["hosts"]?.int,
      let transport = try? PredictedTransport.parse(row.fields["transport"]?.string ?? "").first?
        .transport(ranks: ranks, ranksPerHost: (ranks + hosts - 1) / hosts)
    else { return nil }
    let shape = AttentionShape(
      batch: 1, queryHeads: queryHeads, kvHeads: kvHeads, headDim: headDim,
      valueHeadDim: row.fields["valueHeadDim"]?.int ?? headDim)
    var cluster = try options.cluster(shape: shape, rows: known)
    cluster.ranksPerHost = (ranks + hosts - 1) / hosts
    cluster.threads = row.fields["threads"]?.int ?? 1
    cluster.cores = cluster.cores ?? row.environment["cores"]?.int
    let environment = row.environment
    if let machines = environment["machines"]?.int,
      machines < environment["hosts"]?.array?.count ?? 0
    {
      cluster.sharesCores = true
    }
    if let rate = row.environment["linkBytesPerSecond"]?.double {
      cluster.network.bytesPerSecond = rate
    }
    let problem = DenseProblem(
      shape: shape, tokens: tokens, layout: layout, isCausal: isCausal, wire: wire)
    return Run(
      row: row,
      measured: MeasuredRun(
        problem: problem, ranks: ranks, transport: transport, pass: pass.pass, cluster: cluster,
        seconds: seconds))
  }

  /// The results, those of runs that the model has not seen last.
  var results: [ModelCheckResult] {
    fitted.map { result($0, isFitted: true) } + heldOut.map { result($0, isFitted: false) }
  }

  private func result(_ run: Run, isFitted: Bool) -> ModelCheckResult {
    let predicted = run.measured.predictedSeconds(calibration)
    let rate = run.row.environment["linkBytesPerSecond"]?.double
    return ModelCheckResult(
      benchmark: run.row.benchmark, pass: run.row.fields["pass"]?.string ?? "",
      transport: run.measured.transport.name, ranks: run.measured.ranks,
      hosts: run.row.fields["hosts"]?.int ?? 1, tokens: run.measured.problem.tokens,
      queryHeads: run.measured.problem.shape.queryHeads,
      headDim: run.measured.problem.shape.headDim,
      valueHeadDim: run.measured.problem.shape.valueHeadDim, causal: run.measured.problem.isCausal,
      linkBytesPerSecond: Nullable(value: rate), fitted: isFitted,
      seconds: run.measured.seconds, predictedSeconds: predicted,
      error: predicted / run.measured.seconds - 1)
  }
}

/// One run, measured and predicted.
struct ModelCheckResult {
  let benchmark: String
  let pass: String
  let transport: String
  let ranks: Int
  let hosts: Int
  let tokens: Int
  let queryHeads: Int
  let headDim: Int
  let valueHeadDim: Int
  let causal: Bool
  /// Null where links are not limited.
  let linkBytesPerSecond: Nullable<Double>
  /// Whether the model was fitted to this run among others.
  let fitted: Bool
  let seconds: Double
  let predictedSeconds: Double
  /// Predicted over measured seconds, less one.
  let error: Double
}

extension ModelCheckResult: BenchResult {
  static let benchmark = "predict-check"

  static let keys = [
    "benchmark", "pass", "transport", "ranks", "hosts", "tokens", "queryHeads", "headDim", "causal",
    "linkBytesPerSecond", "fitted", "valueHeadDim",
  ]

  static let figures = ["seconds", "predictedSeconds", "error"]

  static func table(of results: [ModelCheckResult]) -> [[String]] {
    let header = [
      "run", "pass", "transport", "ranks", "hosts", "tokens", "heads", "link", "measured",
      "predicted", "error",
    ]
    return [header]
      + results.map { row in
        [
          row.fitted ? "fitted" : "unseen", row.pass, row.transport, "\(row.ranks)",
          "\(row.hosts)", grouped(row.tokens), "\(row.queryHeads)",
          row.linkBytesPerSecond.value.map { "\(threeDigits($0 * 8 / 1e6)) Mbit/s" } ?? "",
          formatSeconds(row.seconds), formatSeconds(row.predictedSeconds),
          "\(row.error < 0 ? "−" : "+")\(fixed(abs(row.error) * 100, 1)) %",
        ]
      }
  }

  /// The mean and the worst error of some runs, in a sentence; nil for none.
  static func summary(of results: [ModelCheckResult], _ name: String) -> String? {
    let errors = results.map { abs($0.error) }
    guard let worst = errors.max() else { return nil }
    let mean = errors.reduce(0, +) / Double(errors.count)
    return "\(errors.count) \(name) runs: mean error \(fixed(mean * 100, 1)) %, "
      + "worst \(fixed(worst * 100, 1)) %."
  }
}

/// What a check of the model rests on.
struct FittedAssumptions: BenchSetting {
  let forwardSpeed: Double
  let backwardSpeed: Double
  let networkSpeed: Double
  let networkWorkSecondsPerByte: Nullable<Double>
  let insideWorkSecondsPerByte: Nullable<Double>
  let summary: [String]

  init(_ calibration: Calibration, _ results: [ModelCheckResult]) {
    forwardSpeed = calibration.forwardSpeed
    backwardSpeed = calibration.backwardSpeed
    networkSpeed = calibration.networkSpeed
    networkWorkSecondsPerByte = Nullable(value: calibration.networkWork)
    insideWorkSecondsPerByte = Nullable(value: calibration.insideWork)
    summary = [
      ModelCheckResult.summary(of: results.filter(\.fitted), "fitted"),
      ModelCheckResult.summary(of: results.filter { !$0.fitted }, "unseen"),
    ].compactMap { $0 }
  }

  var description: String {
    let work = [networkWorkSecondsPerByte, insideWorkSecondsPerByte].compactMap(\.value).map {
      threeDigits($0 * 1e9)
    }
    let fit =
      work.count < 2
      ? "Nothing was fitted."
      : "Fitted: the kernel at \(threeDigits(forwardSpeed)) (forward) and "
        + "\(threeDigits(backwardSpeed)) (backward) times its speed alone, links at "
        + "\(threeDigits(networkSpeed)) times their rate, \(work[0]) ns of processor time a byte between "
        + "hosts and \(work[1]) ns inside one, at each end."
    return ([fit] + summary).joined(separator: "\n")
  }
}
