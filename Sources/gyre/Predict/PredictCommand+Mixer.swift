import ArgumentParser
import Attention
import Benchmarks
import Mixers
import Plots
import Reporting
import Results
import ScalingModel
import Sharding

/// `gyre predict --mixer`: what an operator's summary or scan takes.
extension PredictCommand {
  /// Refuses what is of attention, or not predicted of operators.
  func checkMixerOptions() throws {
    guard mixer != nil else {
      guard sizes.sizes == MixerSizeList() else {
        throw ValidationError("--sizes is of --mixer; give both.")
      }
      return
    }
    let given = [
      ("--heads", heads != 8), ("--kv-heads", kvHeads != nil), ("--head-dim", headDim != 64),
      ("--value-head-dim", valueHeadDim != nil), ("masks", masks.choice != .full),
      ("--layout", layout != nil), ("--wire", wire != nil), ("--dilated", dilated != nil),
      ("--transport", transport != nil), ("--simgrid", simgrid != nil),
      ("--check", !check.isEmpty), ("--model", model != nil), ("--arithmetic", arithmetic != .f32),
    ]
    if let (name, _) = given.first(where: \.1) {
      throw ValidationError(
        "\(name) is not for --mixer, whose --sizes say what is computed; leave it out.")
    }
  }

  /// Predicts the passes of an operator, for each number of ranks.
  func predictMixer(_ choice: MixerChoice, rows: [ResultRow], into picture: PreparedPicture?)
    throws
  {
    let mixing = try choice.mixing(sizes.sizes, threads: machines.threads)
    let described = try machines.describe(
      HeadDims(AttentionShape(batch: 1, queryHeads: 1, kvHeads: 1, headDim: 1, valueHeadDim: 1)),
      .f32, rows: rows, ranksPerHost: ranksPerHost,
      kernel: try speed(of: mixing, rows))
    let cluster = described.cluster
    var results: [MixerPredictResult] = []
    for pass in passes {
      for count in counts {
        let tokens = tokens(ranks: count)
        let mixer = try mixing.mixer(tokens: tokens)
        let work = work(of: mixer, pass, ranks: count)
        let prediction = cluster.predict(work, ranks: count, pass: pass.pass)
        results.append(
          MixerPredictResult(
            pass: pass.rawValue, mixer: mixing.type.name, causal: choice.options.isCausal,
            sizes: mixing.words, ranks: count, hosts: prediction.hosts,
            threads: machines.threads, tokens: tokens, seconds: prediction.seconds,
            tokensPerSecond: Double(tokens * mixer.batch) / prediction.seconds,
            computeSeconds: prediction.computeSeconds,
            exposedSeconds: prediction.exposedSeconds,
            bytesSentPerRank: prediction.bytesSentPerRank,
            messagesPerRank: work.sent(ranks: count).messages,
            residentBytes: prediction.residentBytes, flops: prediction.flops,
            flopsPerSecond: prediction.flops / prediction.seconds,
            efficiency: prediction.efficiency, limit: prediction.limit.rawValue))
      }
    }
    let guesses =
      described.guesses
      + (ranksPerHost > 1 ? [machines.insideGuess(rows: rows)] : [])
      .compactMap { $0 }
    let report = BenchReport(
      results, in: Assumptions(cluster, tokens: results[0].tokens, guesses: guesses))
    if let picture {
      let files = [try ResultsFile(Array(report.formatted(.json).utf8), path: "the prediction")]
      var figure = try PlotKind.predict.figure(
        PlotRows(files, benchmark: MixerPredictResult.benchmark))
      figure.subtitle = files.place
      try picture.draw(GnuplotScript(figure, theme: .light))
    }
    try printReport(report.text(table))
  }

  /// What a pass is, apart from machines.
  private func work(of mixer: any Mixer, _ pass: KernelPass, ranks: Int) -> MixerWork {
    let isBackward = pass == .backward
    let exchanges = mixer.exchanges(
      backward: isBackward, ranks: ranks, threads: machines.threads)
    let perToken = mixer.flopsPerToken
    let gradients = passes.contains(.backward)
    return MixerWork(
      tokens: mixer.tokens,
      flopsPerToken: Double(mixer.batch) * (isBackward ? perToken.backward : perToken.forward),
      exchanges: exchanges.map { described($0) },
      residentBytes: { mixer.residentBytes(tokens: $0, gradients: gradients) })
  }

  /// An exchange apart from the operator; in which direction it goes makes no difference.
  func described(_ exchange: MixerExchange) -> MixerWork.Exchange {
    switch exchange {
    case .scan(let units, let floats, let effect):
      .scan(
        pieces: MixerExchange.pieces(units: units, threads: machines.threads),
        bytes: Double(4 * floats), effect: effect)
    case .summary(let floats): .summary(bytes: Double(4 * floats))
    case .halo(let rows, let floats), .haloAfter(let rows, let floats):
      .halo(rows: rows, rowBytes: Double(4 * floats))
    case .ring(let floats, let returning):
      .ring(tokenBytes: Double(4 * floats), returning: Double(4 * returning))
    case .reversed(let exchange): described(exchange)
    }
  }

  /// How fast a thread is at an operator, as gyre bench mix has measured it on one rank.
  private func speed(of mixing: MixerCase, _ rows: [ResultRow]) throws -> (KernelCurve, String)? {
    if machines.flops != nil { return nil }
    let measured = rows.filter {
      $0.benchmark == MixerRow<MixerSpeed>.benchmark
        && $0.fields["mixer"]?.string == mixing.type.name && $0.fields["ranks"]?.int == 1
        && $0.fields["causal"]?.bool == mixing.isCausal
        && $0.fields["threads"]?.int == machines.threads
    }
    let same = measured.filter { $0.fields["sizes"]?.string == mixing.words }
    var curve = KernelCurve()
    for pass in passes {
      let points = (same.isEmpty ? measured : same).compactMap { point($0, pass) }
        .sorted { $0.tokens < $1.tokens }
      guard let first = points.first else {
        throw UserError.usage(
          "How fast is a thread at \(mixing.type.name)? Give --flops, as in --flops 10G, or "
            + "--results with the JSON of: gyre bench mix \(mixing.type.name) --threads "
            + "\(machines.threads) --format json")
      }
      // Fewer tokens are as fast.
      curve.setCurve(
        [KernelCurve.Point(tokens: 1, flopsPerSecond: first.flopsPerSecond)] + points, pass.pass,
        isMasked: false)
    }
    let others = same.isEmpty ? ", other sizes" : ""
    return (curve, "the speed of \(mixing.type.name) of gyre bench mix\(others)")
  }

  /// The speed of a thread in a row of a pass.
  private func point(_ row: ResultRow, _ pass: KernelPass) -> KernelCurve.Point? {
    guard row.fields["pass"]?.string == pass.rawValue, let tokens = row.positive("tokens"),
      let rate = row.positive("flopsPerSecond")
    else { return nil }
    return KernelCurve.Point(tokens: tokens, flopsPerSecond: rate / Double(machines.threads))
  }
}
