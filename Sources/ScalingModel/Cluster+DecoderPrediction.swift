import Attention
import Glibc
public import SequenceParallel
import Sharding

extension Cluster {
  /// How fast the ranks of a model are, apart from attention.
  public struct DecoderSpeed: Hashable, Sendable {
    /// Of the products of a prompt, a thread.
    public let flopsPerSecond: Double
    /// Of the weights of a token that is generated, a rank that has its host to itself.
    public let weightBytesPerSecond: Double

    /// Takes the speeds.
    public init(flopsPerSecond: Double, weightBytesPerSecond: Double) {
      self.flopsPerSecond = flopsPerSecond
      self.weightBytesPerSecond = weightBytesPerSecond
    }
  }

  /// Predicts a prompt that is read on a route: products of each rank's own tokens, and attention
  /// layer after layer as the pass of it is predicted.
  ///
  /// - Precondition: as of ``predict(_:ranks:route:pass:progress:)``.
  public func predictPrompt(
    _ work: DecoderWork, tokens: Int, ranks: Int, route: Route, speed: DecoderSpeed
  ) -> DecoderPrediction {
    let mine = (Double(tokens) / Double(ranks)).rounded(.up)
    let products =
      (work.productFlops * mine + work.logitFlops) * coreSlowdown(ranks: ranks)
      / (speed.flopsPerSecond * Double(threads))
    var (attention, sent) = (0.0, 0.0)
    for layers in work.layers {
      let problem = DenseProblem(
        shape: work.shape, tokens: tokens, layout: .zigzag, pattern: layers.pattern,
        wire: work.keyValueType)
      let pass = predict(problem, ranks: ranks, route: route, pass: .forward)
      attention += Double(layers.count) * pass.seconds
      sent += Double(layers.count) * pass.bytesSentPerRank
    }
    return DecoderPrediction(
      ranks: ranks, hosts: hosts(ranks: ranks), seconds: products + attention,
      productSeconds: products, attentionSeconds: attention, exchangeSeconds: 0,
      bytesSentPerRank: sent)
  }

  /// Predicts a token that is generated after others: each rank reads the weights, or its columns
  /// of them where all ranks are on one host, and its part of the keys and values; partial results
  /// and columns are exchanged.
  ///
  /// Ranks of a host read from one memory. An exchange has `⌈log₂ P⌉` messages one after the other.
  public func predictToken(
    _ work: DecoderWork, tokens: Int, ranks: Int, speed: DecoderSpeed
  ) -> DecoderPrediction {
    let hosts = hosts(ranks: ranks)
    let isDivided = ranks > 1 && hosts == 1
    // Of all ranks of a host together.
    let beside = Double(sharesCores ? ranks : min(ranks, ranksPerHost))
    let reading = isDivided ? 1 : beside
    let bytesPerSecond = memoryBytesPerSecond(speed, ranksReading: Int(beside))
    let weights = work.weightBytes * reading / bytesPerSecond
    let cache = work.cacheBytes(tokens: tokens) / Double(ranks) * beside / bytesPerSecond
    let rounds = ceil(log2(Double(ranks)))
    let link = hosts > 1 ? network : inside
    let record = Double(work.shape.queryHeads * (work.shape.valueHeadDim + 2) * 4)
    let merging = Double(work.layerCount) * rounds * record
    let columns = isDivided ? work.columnBytes * Double(ranks - 1) / Double(ranks) : 0
    let messages = rounds * Double(work.layerCount + (isDivided ? work.products : 0))
    let bytes = merging + columns
    let exchange =
      messages * link.latency + bytes / link.bytesPerSecond + 2 * bytes * link.cpuSecondsPerByte
    return DecoderPrediction(
      ranks: ranks, hosts: hosts, seconds: weights + cache + exchange, productSeconds: weights,
      attentionSeconds: cache, exchangeSeconds: exchange, bytesSentPerRank: bytes)
  }

  /// What ranks of a host read together: as much more than one as memory gives as many more cores.
  func memoryBytesPerSecond(_ speed: DecoderSpeed, ranksReading: Int) -> Double {
    guard let memory else { return speed.weightBytesPerSecond * Double(ranksReading) }
    let all = memory.bytesPerSecond(
      cores: Double(min(cores ?? .max, threads * ranksReading)))
    return min(speed.weightBytesPerSecond * Double(ranksReading), all)
  }
}
