import Attention
import Benchmarks
import Reporting
import Results
import ScalingModel

/// Predictions against runs that were measured, those that the model was fitted to and others.
struct ModelCheck {
  /// A run and its names.
  struct Run {
    let row: ResultRow
    let key: RunKey
    let measured: MeasuredRun
  }

  let calibration: Calibration
  let fitted: [Run]
  let heldOut: [Run]
  /// What was taken from where, a sentence each.
  let sources: [String]

  /// Reads runs of gyre bench strong and weak from rows of results files.
  ///
  /// - Parameters:
  ///   - options: what is said of the machines.
  ///   - known: rows of measured speeds; those among the runs count too.
  init(fitting: [ResultRow], checking: [ResultRow], _ options: ClusterOptions, _ known: [ResultRow])
    throws
  {
    let known = known + fitting + checking
    // Runs that the model may see, if there are any.
    let seen = fitting.isEmpty ? (checking, "checked") : (fitting, "fitted")
    var sources: [String] = []
    func run(_ row: ResultRow) throws -> Run? {
      guard ["strong", "weak"].contains(row.benchmark), let seconds = row.positive("seconds"),
        let key = RunKey(row)
      else { return nil }
      let dims = HeadDims(key.problem.shape)
      let described = try options.describe(
        dims, key.arithmetic, rows: known,
        runs: RunSpeeds(seen.0, of: dims, key.arithmetic, name: seen.1))
      for source in described.sources + described.guesses where !sources.contains(source) {
        sources.append(source)
      }
      return Run(
        row: row, key: key,
        measured: MeasuredRun(
          problem: key.problem, ranks: key.ranks, route: key.route, pass: key.pass,
          cluster: Self.cluster(described.cluster, of: row, key, options), seconds: seconds,
          computeOnlySeconds: row.positive("computeOnlySeconds"),
          unevenness: Self.unevenness(row, key), comparison: Self.comparison(row)))
    }
    fitted = try fitting.compactMap(run)
    heldOut = try checking.compactMap(run)
    self.sources = sources
    calibration = fitted.isEmpty ? Calibration() : Calibration(fitting: fitted.map(\.measured))
  }

  /// How many times as long as the mean of them the slowest rank computed; nil for one rank.
  private static func unevenness(_ row: ResultRow, _ key: RunKey) -> Double? {
    guard key.ranks > 1, let mean = row.positive("computeSeconds"),
      let over = row["imbalanceSeconds"], over >= 0
    else { return nil }
    return 1 + over / mean
  }

  /// What was measured in turn: all numbers of ranks and both passes of one problem in one job.
  private static func comparison(_ row: ResultRow) -> String {
    let others = ["pass", "ranks", "hosts", row.benchmark == "weak" ? "tokens" : "tokensPerRank"]
    let names = row.identity.filter { !others.contains($0.key) }
    let date = row.environment["date"]?.string ?? ""
    return date + names.sorted { $0.key < $1.key }.map { " \($0.key) \($0.value)" }.joined()
  }

  /// The machines as the run itself notes them.
  private static func cluster(
    _ cluster: Cluster, of row: ResultRow, _ key: RunKey, _ options: ClusterOptions
  ) -> Cluster {
    var cluster = cluster
    cluster.ranksPerHost = (key.ranks + key.hosts - 1) / key.hosts
    cluster.threads = key.threads
    cluster.cores = cluster.cores ?? row.environment["cores"]?.int.flatMap { $0 > 0 ? $0 : nil }
    if let crowding = options.crowding, let cores = cluster.cores {
      cluster.coreCurve = CoreCurve(crowding: crowding, cores: cores)
    }
    if let machines = row.environment["machines"]?.int,
      machines < row.environment["hosts"]?.array?.count ?? 0
    {
      cluster.sharesCores = true
    }
    if let rate = row.environment["linkBytesPerSecond"]?.double, rate > 0 {
      cluster.network.bytesPerSecond = rate
    }
    return cluster
  }

  /// The results, those of runs that the model has not seen last.
  var results: [ModelCheckResult] {
    fitted.map { result($0, isFitted: true) } + heldOut.map { result($0, isFitted: false) }
  }

  /// By how much runs that send nothing differ from the same computing in the same rounds, on
  /// average: what the machines vary by, which no prediction knows; nil where there are none.
  var variation: Double? {
    let ratios = (fitted + heldOut).compactMap { run in
      run.row["bytesSentPerRank"] == 0
        ? run.measured.computeOnlySeconds.map { run.measured.seconds / $0 } : nil
    }
    if ratios.isEmpty { return nil }
    return ratios.reduce(0) { $0 + abs($1 - 1) } / Double(ratios.count)
  }

  private func result(_ run: Run, isFitted: Bool) -> ModelCheckResult {
    let predicted = run.measured.predictedSeconds(calibration)
    let rate = run.row.environment["linkBytesPerSecond"]?.double
    let fields = ModelCheckFields(
      benchmark: run.row.benchmark, pass: run.row.fields["pass"]?.string ?? "",
      transport: run.key.transportName, ranks: run.measured.ranks,
      hosts: run.key.hosts, tokens: run.measured.problem.tokens,
      queryHeads: run.measured.problem.shape.queryHeads,
      headDim: run.measured.problem.shape.headDim,
      valueHeadDim: run.measured.problem.shape.valueHeadDim,
      arithmetic: run.key.arithmetic.field,
      linkBytesPerSecond: Nullable(value: rate), fitted: isFitted,
      seconds: run.measured.seconds, predictedSeconds: predicted,
      error: predicted / run.measured.seconds - 1)
    return WithPattern(run.measured.problem.pattern, fields)
  }
}

/// One run, measured and predicted.
typealias ModelCheckResult = WithPattern<ModelCheckFields>

/// What such a row has besides the masks.
struct ModelCheckFields {
  let benchmark: String
  let pass: String
  let transport: String
  let ranks: Int
  let hosts: Int
  let tokens: Int
  let queryHeads: Int
  let headDim: Int
  let valueHeadDim: Int
  /// Null for `f32`.
  let arithmetic: Nullable<String>
  /// Null where links are not limited.
  let linkBytesPerSecond: Nullable<Double>
  /// Whether the model was fitted to this run among others.
  let fitted: Bool
  let seconds: Double
  let predictedSeconds: Double
  /// Predicted over measured seconds, less one.
  let error: Double
}

extension ModelCheckFields: PatternedFields {
  static let benchmark = "predict-check"

  static let keys =
    ["benchmark", "pass", "transport", "ranks", "hosts", "tokens", "queryHeads", "headDim"]
    + PatternChoice.fields + ["arithmetic", "linkBytesPerSecond", "fitted", "valueHeadDim"]

  static let figures = ["seconds", "predictedSeconds", "error"]
  static let keyColumns = 8
  static let dispensableColumns = ["measured", "predicted"]

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
  /// How much longer a core takes in a full host, less one; null where hosts have one core, and
  /// where a curve was measured.
  let crowding: Nullable<Double>
  /// The same of the mean core, where that of the slowest is `crowding`.
  let meanCrowding: Nullable<Double>
  /// Over what was measured, or else usual; null where hosts have one core.
  let crowdingShare: Nullable<Double>
  let memoryShare: Nullable<Double>
  /// How many times as long as on average everything took while each comparison was measured, in
  /// ascending order; empty where there was only one.
  let drifts: [Double]
  /// Null where no run tells.
  let variation: Nullable<Double>
  let sources: [String]
  let summary: [String]

  init(_ check: ModelCheck, _ results: [ModelCheckResult]) {
    let calibration = check.calibration
    sources = check.sources
    let clusters = check.fitted.map(\.measured.cluster).filter { $0.cores ?? 1 > 1 }
    let isMeasured = clusters.contains { $0.coreCurve != nil }
    crowdingShare = Nullable(value: clusters.isEmpty ? nil : calibration.crowdingShare)
    memoryShare = Nullable(value: clusters.isEmpty ? nil : calibration.memoryShare)
    crowding = Nullable(
      value: isMeasured ? nil : crowdingShare.value.map { $0 * Calibration.usualCrowding })
    meanCrowding = Nullable(
      value: crowding.value.map { $0 * (calibration.evenShare ?? 1) })
    drifts = calibration.drifts.values.sorted()
    variation = Nullable(value: check.variation)
    forwardSpeed = calibration.forwardSpeed
    backwardSpeed = calibration.backwardSpeed
    networkSpeed = calibration.networkSpeed
    networkWorkSecondsPerByte = Nullable(value: calibration.networkWork)
    insideWorkSecondsPerByte = Nullable(value: calibration.insideWork)
    summary = [
      ModelCheckFields.summary(of: results.filter(\.fitted), "fitted"),
      ModelCheckFields.summary(of: results.filter { !$0.fitted }, "unseen"),
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
        + "\(threeDigits(networkSpeed)) times their rate, \(work[0]) ns of processor time a byte "
        + "between hosts and \(work[1]) ns inside one, at each end."
    let cores =
      crowding.value.map { slowest in
        let mean = meanCrowding.value.map { ", and the mean of them \(threeDigits(1 + $0)) times" }
        return "When all cores of a host are at work, the slowest takes "
          + "\(threeDigits(1 + slowest)) times as long as one alone\(mean ?? "")"
      }
      ?? crowdingShare.value.map {
        "Cores take \(threeDigits($0)) times from each other what was measured"
      }
    let crowded = cores.flatMap { sentence in
      memoryShare.value.map {
        "\(sentence). Memory gives \(threeDigits($0)) times what was measured or is usual."
      }
    }
    let drifting = drifts.last.map {
      "Everything took \(threeDigits(drifts[0])) to \(threeDigits($0)) times as long as on average "
        + "while the \(drifts.count) fitted comparisons were measured, which counts for their runs."
    }
    let varying = variation.value.map {
      "Runs that send nothing differ from the same computing in the same rounds by "
        + "\(fixed($0 * 100, 1)) % on average: so much the machines vary."
    }
    let sentences =
      ["Taken: \(sources.joined(separator: "; "))."] + [fit]
      + [crowded, drifting].compactMap { $0 } + summary + [varying].compactMap { $0 }
    return sentences.joined(separator: "\n")
  }
}
