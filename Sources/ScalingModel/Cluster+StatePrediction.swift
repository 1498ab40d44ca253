import Glibc

extension Cluster {
  /// Predicts a prompt of a model whose layers carry states: products and scans of each rank's own
  /// tokens, and the way of the states.
  ///
  /// A rank begins a layer later than the one before it, by what it waits for its first state. In
  /// the next layer the one before is as far ahead, so that this is waited for once, and not in
  /// every layer. Where states cannot be handed on in pieces, what tokens do to them is computed
  /// first, in every layer.
  ///
  /// - Parameter scanFlopsPerSecond: of a thread, beside the products.
  public func predictPrompt(
    _ work: StateModelWork, tokens: Int, ranks: Int, speed: DecoderSpeed,
    scanFlopsPerSecond: Double
  ) -> DecoderPrediction {
    let crowded = crowded(ranks: ranks)
    let mine = (Double(tokens) / Double(ranks)).rounded(.up)
    let threadSeconds = coreSlowdown(ranks: ranks) / Double(threads)
    let products =
      (work.productFlops * mine + work.logitFlops) * threadSeconds / speed.flopsPerSecond
    let scans = work.scanFlops * mine * threadSeconds / scanFlopsPerSecond
    var (once, always, exchange, sent) = (0.0, 0.0, 0.0, 0.0)
    for layer in work.exchanges where ranks > 1 {
      let computing = scans / Double(work.exchanges.count)
      var (own, way) = (0.0, 0.0)
      for part in layer {
        switch part {
        case .scan(let pieces, let bytes, let effect):
          let effect = ranks > pieces + 1 ? effect : nil
          let waiting = crowded.scanSeconds(
            pieces: pieces, bytes: bytes, effect: effect, ranks: ranks, computing: computing)
          if effect != nil {
            always += waiting.fill
          } else {
            own += waiting.fill
          }
          way += waiting.bytes + waiting.delay
        case .halo(let rows, let rowBytes):
          let step = crowded.seconds(of: Double(rows) * rowBytes, ranks: ranks)
          way += step.bytes + step.delay
        case .summary, .ring: preconditionFailure("a layer that carries a state only hands on")
        }
      }
      (once, exchange) = (max(once, own), max(exchange, way))
      sent +=
        MixerWork(tokens: tokens, flopsPerToken: 0, exchanges: layer) { _ in 0 }
        .sent(ranks: ranks).bytes
    }
    let carrying = scans + once + always
    return DecoderPrediction(
      ranks: ranks, hosts: hosts(ranks: ranks), seconds: products + carrying + exchange,
      productSeconds: products, attentionSeconds: carrying, exchangeSeconds: exchange,
      bytesSentPerRank: sent)
  }

  /// Predicts a token that is generated: each rank reads the weights, or its columns of them where
  /// all ranks are on one host, and all states, which it writes again.
  public func predictToken(
    _ work: StateModelWork, ranks: Int, speed: DecoderSpeed
  ) -> DecoderPrediction {
    let hosts = hosts(ranks: ranks)
    let isDivided = ranks > 1 && hosts == 1
    // Of all ranks of a host together.
    let beside = Double(sharesCores ? ranks : min(ranks, ranksPerHost))
    let bytesPerSecond = memoryBytesPerSecond(speed, ranksReading: Int(beside))
    let weights = work.weightBytes * (isDivided ? 1 : beside) / bytesPerSecond
    let states = 2 * work.stateBytes * beside / bytesPerSecond
    let bytes = isDivided ? work.columnBytes * Double(ranks - 1) / Double(ranks) : 0
    let messages = isDivided ? ceil(log2(Double(ranks))) * Double(work.products) : 0
    let exchange =
      messages * inside.latency + bytes / inside.bytesPerSecond
      + 2 * bytes * inside.cpuSecondsPerByte
    return DecoderPrediction(
      ranks: ranks, hosts: hosts, seconds: weights + states + exchange, productSeconds: weights,
      attentionSeconds: states, exchangeSeconds: exchange, bytesSentPerRank: bytes)
  }
}
