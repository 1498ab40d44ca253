import Attention
import Benchmarks
import Models
import Reporting
import Results
import ScalingModel

/// `gyre predict --model` of a model whose layers carry states.
extension PredictCommand {
  /// Predicts a prompt and a token after it, for each number of ranks.
  func predictStates(of decoder: Decoder, _ path: String, rows: [ResultRow]) throws {
    if let option = [("--transport", transport != nil), ("--wire", wire != nil)].first(where: \.1) {
      throw UserError.usage(
        "\(option.0) says something about attention, and a model of \(decoder.architecture) has "
          + "none; leave it out.")
    }
    let tokens = tokens(ranks: 1)
    let measured = measured(decoder, rows)
    let alone = work(of: decoder, tokens: tokens, ranks: 1)
    let rate = rate(measured, alone)
    guard rate != nil || machines.flops != nil else {
      throw UserError.usage(
        "How fast does a thread compute? Give --flops, as in --flops 50G, or --results with the "
          + "JSON of: gyre bench model MODEL --format json")
    }
    var curve = KernelCurve()
    if let rate {
      let point = KernelCurve.Point(tokens: 1, flopsPerSecond: rate)
      curve.setCurve([point], .forward, isMasked: false)
    }
    let described = try machines.describe(
      HeadDims(decoder.attentionShape), arithmetic, rows: rows, ranksPerHost: ranksPerHost,
      kernel: rate == nil ? nil : (curve, "the speed of gyre bench model"))
    let cluster = described.cluster
    var guesses = described.guesses
    let flops = cluster.kernel.flopsPerSecond(tokens: 4096, .forward, isMasked: false)
    let scans = rate == nil ? try scanRate(decoder, rows) : nil
    if rate == nil, scans == nil { guesses.append("scans are as fast as products, a flop") }
    let speed = Cluster.DecoderSpeed(
      flopsPerSecond: flops,
      weightBytesPerSecond: try weightBytesPerSecond(
        measured, weightBytes: alone.weightBytes, on: cluster, &guesses))
    var results: [ModelPredictResult] = []
    for count in counts {
      let work = work(of: decoder, tokens: tokens, ranks: count)
      for (prediction, test, length) in [
        (
          cluster.predictPrompt(
            work, tokens: tokens, ranks: count, speed: speed, scanFlopsPerSecond: scans ?? flops),
          "pp\(tokens)", tokens
        ),
        (cluster.predictToken(work, ranks: count, speed: speed), "tg @ d\(tokens)", 1),
      ] {
        results.append(
          row(
            prediction, of: decoder, path, test, by: "", tokens: tokens, of: length,
            cacheType: .f32))
      }
    }
    let report = BenchReport(
      results, in: Assumptions(cluster, tokens: tokens, guesses: guesses))
    try printReport(report.text(table))
  }

  /// What a model asks of so many ranks.
  private func work(of decoder: Decoder, tokens: Int, ranks: Int) -> StateModelWork {
    let work = decoder.stateWork(tokens: tokens, ranks: ranks, threads: machines.threads)
    let sizes = decoder.sizes
    return StateModelWork(
      productFlops: Double(work.productWork), scanFlops: Double(work.scanWork),
      logitFlops: Double(2 * sizes.width * sizes.vocabulary),
      weightBytes: Double(decoder.multipliedBytes), stateBytes: Double(decoder.stateBytes),
      columnBytes: Double(4 * (work.columns + sizes.vocabulary)), products: work.products + 1,
      exchanges: work.exchanges.map { $0.map { described($0) } })
  }

  /// Floating-point operations a second of a thread, all together, as gyre bench model has measured
  /// them of the longest prompt on one rank; nil if it has not.
  private func rate(_ measured: [ResultRow], _ work: StateModelWork) -> Double? {
    let prompt = measured.filter { $0.positive("promptTokens") != nil }
      .max { ($0.positive("promptTokens") ?? 0) < ($1.positive("promptTokens") ?? 0) }
    guard let prompt, let count = prompt.positive("promptTokens"), let seconds = prompt.seconds
    else { return nil }
    let flops = (work.productFlops + work.scanFlops) * count + work.logitFlops
    return flops / (seconds.median * Double(machines.threads))
  }

  /// That of a model's operator, as gyre bench mix has measured it; nil if it has not.
  private func scanRate(_ decoder: Decoder, _ rows: [ResultRow]) throws -> Double? {
    rows.filter {
      $0.benchmark == MixerRow<MixerSpeed>.benchmark && $0.fields["ranks"]?.int == 1
        && $0.fields["mixer"]?.string == decoder.stateOperator
        && $0.fields["pass"]?.string == KernelPass.forward.rawValue
        && $0.fields["threads"]?.int == machines.threads
    }.max { ($0.positive("tokens") ?? 0) < ($1.positive("tokens") ?? 0) }?
    .positive("flopsPerSecond").map { $0 / Double(machines.threads) }
  }
}
