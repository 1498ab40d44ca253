import ArgumentParser
import Attention
import Benchmarks
import Models
import Reporting
import Results
import ScalingModel
import SequenceParallel

/// `gyre predict --model`: how fast a model would read and write.
extension PredictCommand {
  /// Refuses what the model says itself, or what is not predicted of models.
  func checkModelOptions() throws {
    guard model != nil else { return }
    let given = [
      ("--heads", heads != 8), ("--kv-heads", kvHeads != nil), ("--head-dim", headDim != 64),
      ("--value-head-dim", valueHeadDim != nil), ("masks", masks.choice != .full),
      (scoreRule.given.first ?? "", !scoreRule.given.isEmpty),
      ("--rope", position.pairing != nil),
      ("--layout", layout != nil), ("--dilated", dilated != nil), ("--sweep", sweep),
      ("--simgrid", simgrid != nil), ("--check", !check.isEmpty),
      ("--pass", passes != [.forward]), ("--tokens-per-rank", tokensPerRank != nil),
    ]
    if let (name, _) = given.first(where: \.1) {
      throw ValidationError(
        "\(name) is not for --model, which says what is computed; leave it out.")
    }
  }

  /// Predicts a prompt and a token after it, for each number of ranks.
  func predictModel(_ path: String, rows: [ResultRow]) throws {
    let decoder = try Decoder(try ModelFile(path))
    if decoder.carriesState { return try predictStates(of: decoder, path, rows: rows) }
    let tokens = tokens(ranks: 1)
    if let most = decoder.mostPositions, tokens > most {
      throw UserError.usage(
        "the model has \(grouped(most)) positions, and --tokens is \(grouped(tokens)); give fewer.")
    }
    let described = try machines.describe(
      HeadDims(decoder.attentionShape), arithmetic, rows: rows, ranksPerHost: ranksPerHost)
    let cluster = described.cluster
    let cacheType = CacheType(rawValue: (wire ?? .f32).rawValue) ?? .f32
    let work = DecoderWork(decoder, keyValueType: cacheType.wire)
    let (speed, guesses) = try speed(of: decoder, work, on: cluster, rows)
    var results: [ModelPredictResult] = []
    func add(_ prediction: DecoderPrediction, _ test: String, by transport: String, of count: Int) {
      results.append(
        row(
          prediction, of: decoder, path, test, by: transport, tokens: tokens, of: count,
          cacheType: cacheType))
    }
    for count in counts {
      for kind in transports {
        guard let route = kind.route(ranks: count, ranksPerHost: ranksPerHost) else { continue }
        add(
          cluster.predictPrompt(work, tokens: tokens, ranks: count, route: route, speed: speed),
          "pp\(tokens)", by: kind.name, of: tokens)
      }
      add(
        cluster.predictToken(work, tokens: tokens, ranks: count, speed: speed),
        "tg @ d\(tokens)", by: "", of: 1)
    }
    let report = BenchReport(
      results, in: Assumptions(cluster, tokens: tokens, guesses: described.guesses + guesses))
    try printReport(report.text(table))
  }

  /// A row of the report.
  ///
  /// - Parameters:
  ///   - tokens: of the prompt, or before the token.
  ///   - count: that are read or written.
  func row(
    _ prediction: DecoderPrediction, of decoder: Decoder, _ path: String, _ test: String,
    by transport: String, tokens: Int, of count: Int, cacheType: CacheType
  ) -> ModelPredictResult {
    var options = RunOptions()
    options.cacheType = cacheType
    let needs = MemoryNeeds(
      decoder: decoder, options: options, ranks: prediction.ranks, ranksPerHost: ranksPerHost)
    return ModelPredictResult(
      model: path.split(separator: "/").last.map(String.init) ?? path, test: test,
      transport: transport, ranks: prediction.ranks, hosts: prediction.hosts,
      threads: machines.threads, tokens: tokens, cacheType: cacheType.rawValue,
      seconds: prediction.seconds, tokensPerSecond: Double(count) / prediction.seconds,
      productSeconds: prediction.productSeconds, attentionSeconds: prediction.attentionSeconds,
      exchangeSeconds: prediction.exchangeSeconds, bytesSentPerRank: prediction.bytesSentPerRank,
      ownBytesNeeded: needs.largest(context: tokens).ownBytes)
  }

  /// What gyre bench model has measured of a model on one rank, without tokens before.
  func measured(_ decoder: Decoder, _ rows: [ResultRow]) -> [ResultRow] {
    rows.filter {
      $0.benchmark == "model" && $0.fields["ranks"]?.int == 1 && $0.fields["depth"]?.int == 0
        && $0.fields["samples"]?.int ?? 1 == 1 && $0.fields["threads"]?.int == machines.threads
        && $0.fields["arithmetic"]?.string == arithmetic.rawValue
        && $0.fields["weightProducts"]?.string ?? arithmetic.rawValue == arithmetic.rawValue
        && $0.fields["weightBytes"]?.int == decoder.weightBytes
    }
  }

  /// How fast weights are read: as gyre bench model has measured it, or as memory allows.
  func weightBytesPerSecond(
    _ measured: [ResultRow], weightBytes: Double, on cluster: Cluster, _ guesses: inout [String]
  ) throws -> Double {
    let token = measured.first { $0.positive("generatedTokens") != nil }
    if let token, let count = token.positive("generatedTokens"), let seconds = token.seconds {
      return weightBytes * count / seconds.median
    }
    guard let memory = cluster.memory else {
      throw UserError.usage(
        "How fast are weights read? Give --memory, as in --memory 80GB/s, or --results with the "
          + "JSON of: gyre bench model MODEL --format json")
    }
    guesses.append("weights are read as fast as memory allows")
    return memory.bytesPerSecond(cores: Double(machines.threads))
  }

  /// The speeds of products, as gyre bench model has measured them on one rank, or as those of the
  /// kernel and of memory are.
  private func speed(
    of decoder: Decoder, _ work: DecoderWork, on cluster: Cluster, _ rows: [ResultRow]
  ) throws -> (Cluster.DecoderSpeed, guesses: [String]) {
    let measured = measured(decoder, rows)
    var guesses: [String] = []
    let threads = Double(machines.threads)
    var flops = cluster.kernel.flopsPerSecond(tokens: 4096, .forward, isMasked: false)
    let prompt = measured.filter { $0.positive("promptTokens") != nil }
      .max { ($0.positive("promptTokens") ?? 0) < ($1.positive("promptTokens") ?? 0) }
    if let prompt, let count = prompt.positive("promptTokens"), let seconds = prompt.seconds {
      let attention = cluster.predictPrompt(
        work, tokens: Int(count), ranks: 1, route: .ring,
        speed: Cluster.DecoderSpeed(flopsPerSecond: 1, weightBytesPerSecond: 1)
      ).attentionSeconds
      let products = max(seconds.median - attention, 0.05 * seconds.median)
      flops = (work.productFlops * count + work.logitFlops) / (products * threads)
    } else {
      guesses.append("products with weights are as fast as the kernel of attention")
    }
    let speed = try weightBytesPerSecond(
      measured, weightBytes: work.weightBytes, on: cluster, &guesses)
    return (Cluster.DecoderSpeed(flopsPerSecond: flops, weightBytesPerSecond: speed), guesses)
  }
}

extension DecoderWork {
  /// That of a model.
  fileprivate init(_ decoder: Decoder, keyValueType: WireType) {
    let windows = decoder.layers.map(\.window)
    let kinds = Array(Set(windows)).sorted { ($0 ?? .max) < ($1 ?? .max) }
    let (sizes, layers) = (decoder.sizes, decoder.layers)
    let columns = layers.reduce(sizes.vocabulary) { $0 + $1.productWidth }
    self.init(
      shape: decoder.attentionShape,
      layers: kinds.map { window in
        Layers(
          count: windows.count { $0 == window },
          pattern: PatternChoice([CausalMask()] + (window.map { [WindowMask(width: $0)] } ?? [])),
          window: window)
      },
      productFlops: Double(layers.reduce(0) { $0 + $1.productWork }),
      logitFlops: Double(2 * sizes.width * sizes.vocabulary),
      weightBytes: Double(decoder.multipliedBytes),
      columnBytes: Double(4 * columns), products: 4 * layers.count + 1,
      keyValueType: keyValueType)
  }
}
