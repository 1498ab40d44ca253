import Attention
import MPI
import SequenceParallel
import Sharding

extension RankReport {
  /// Describes this rank's part of a run.
  init(
    rank: Int, tokens: Int, flops: Double, forward: Duration, backward: Duration, timing: Timing,
    traffic: Traffic
  ) {
    let computing = gyre.seconds(timing.computing)
    self.init(
      rank: rank, tokens: tokens, seconds: gyre.seconds(forward + backward),
      forwardSeconds: gyre.seconds(forward), backwardSeconds: gyre.seconds(backward),
      computeSeconds: computing,
      waitSeconds: gyre.seconds(timing.waiting), flops: flops,
      flopsPerSecond: computing > 0 ? flops / computing : 0,
      bytesSent: traffic.bytesSent, messagesSent: traffic.messagesSent)
  }

  /// The numbers in the order of their declaration, to be gathered.
  fileprivate var numbers: [Double] {
    [
      Double(tokens), seconds, forwardSeconds, backwardSeconds, computeSeconds, waitSeconds, flops,
      flopsPerSecond,
      Double(bytesSent), Double(messagesSent), Double(peakResidentBytes),
    ]
  }

  fileprivate init(rank: Int, host: String, numbers: [Double]) {
    self.init(
      rank: rank, host: host, tokens: Int(numbers[0]), seconds: numbers[1],
      forwardSeconds: numbers[2], backwardSeconds: numbers[3], computeSeconds: numbers[4],
      waitSeconds: numbers[5], flops: numbers[6], flopsPerSecond: numbers[7],
      bytesSent: Int(numbers[8]), messagesSent: Int(numbers[9]),
      peakResidentBytes: Int(numbers[10]))
  }
}

extension RunReport {
  /// Gathers the ranks' reports; nil on all ranks but 0.
  static func gather(
    _ own: RankReport, attention: ShardedAttention,
    choice: ChosenTransport, backward: BackwardDecision?,
    options: AttendCommand, findings: Findings?, dilated: DilatedReport?,
    on world: borrowing Communicator
  ) throws -> RunReport? {
    let numbers = try world.gather(own.numbers, at: 0)
    let hosts = try world.gather(Array(MPIEnvironment.processorName.utf8), at: 0)
    guard let numbers, let hosts else { return nil }
    let ranks = numbers.indices.map {
      RankReport(
        rank: $0, host: String(decoding: hosts[$0], as: UTF8.self), numbers: numbers[$0])
    }
    func largest(_ value: (RankReport) -> Double) -> Double { ranks.map(value).max() ?? 0 }
    func imbalance(_ value: (RankReport) -> Double) -> Double {
      let mean = ranks.map(value).reduce(0, +) / Double(ranks.count)
      return mean > 0 ? largest(value) / mean : 1
    }
    let seconds = largest(\.seconds)
    let flops = ranks.map(\.flops).reduce(0, +)
    return RunReport(
      ranks: ranks.count, batch: attention.shape.batch, tokens: attention.queries.tokens,
      keyTokens: attention.keys.tokens, queryHeads: attention.shape.queryHeads,
      kvHeads: attention.shape.kvHeads, headDim: attention.shape.headDim,
      valueHeadDim: attention.shape.valueHeadDim, causal: options.causal,
      layout: attention.queries.layout.rawValue,
      wire: attention.wire.rawValue, threads: options.threads,
      gradients: options.gradients, reproducible: options.reproducible,
      transport: dilated == nil ? choice.route.description : "exchange",
      travel: Nullable(value: dilated == nil ? choice.route.travelling.rawValue : nil),
      transportReason: dilated == nil
        ? choice.reason : "rows go where the placement computes them",
      backwardRoute: Nullable(value: backward?.name),
      backwardRouteReason: Nullable(value: backward?.reason),
      seconds: seconds, forwardSeconds: largest(\.forwardSeconds),
      backwardSeconds: largest(\.backwardSeconds), flops: flops,
      flopsPerSecond: seconds > 0 ? flops / seconds : 0,
      bytesSentPerRank: ranks.map(\.bytesSent).max() ?? 0,
      messagesPerRank: ranks.map(\.messagesSent).max() ?? 0,
      computeSeconds: largest(\.computeSeconds), waitSeconds: largest(\.waitSeconds),
      imbalance: imbalance(\.computeSeconds), workImbalance: imbalance(\.flops),
      peakResidentBytes: ranks.map(\.peakResidentBytes).max() ?? 0,
      maxError: Nullable(value: findings?.output.maxError),
      tolerance: Nullable(value: findings?.output.tolerance),
      wireTolerance: Nullable(value: findings?.output.wireTolerance),
      checkedRows: findings?.output.rows ?? 0,
      maxGradientError: Nullable(value: findings?.gradients?.maxError),
      gradientTolerance: Nullable(value: findings?.gradients?.tolerance),
      dilated: Nullable(value: dilated), perRank: ranks)
  }
}
