import Attention
import MPI
import Reporting
import SequenceParallel
import Sharding

extension RankReport {
  /// Describes this rank's part of a run.
  init(
    rank: Int, threads: Int, tokens: Int, flops: Double, load: Duration,
    forward: Duration, backward: Duration,
    timing: Timing,
    traffic: Traffic
  ) {
    let computing = timing.computing.inSeconds
    self.init(
      rank: rank, threads: threads, tokens: tokens, seconds: (forward + backward).inSeconds,
      forwardSeconds: forward.inSeconds, backwardSeconds: backward.inSeconds,
      loadSeconds: load.inSeconds, computeSeconds: computing,
      waitSeconds: timing.waiting.inSeconds, flops: flops,
      flopsPerSecond: computing > 0 ? flops / computing : 0,
      bytesSent: traffic.bytesSent, messagesSent: traffic.messagesSent)
  }

  /// The numbers in the order of their declaration, to be gathered.
  fileprivate var numbers: [Double] {
    [
      Double(tokens), seconds, forwardSeconds, backwardSeconds, computeSeconds, waitSeconds, flops,
      flopsPerSecond,
      Double(bytesSent), Double(messagesSent), Double(peakResidentBytes), Double(threads),
      loadSeconds, checkSeconds, writeSeconds,
      Double(InstructionSet.allCases.firstIndex(of: .inUse) ?? 0),
    ]
  }

  /// The reports of all ranks; nil on all ranks but 0.
  func gather(on world: borrowing Communicator) throws -> [RankReport]? {
    let numbers = try world.gather(numbers, at: 0)
    let hosts = try world.gather(Array(MPIEnvironment.processorName.utf8), at: 0)
    guard let numbers, let hosts else { return nil }
    return numbers.indices.map {
      RankReport(
        rank: $0, host: String(decoding: hosts[$0], as: UTF8.self), numbers: numbers[$0])
    }
  }

  fileprivate init(rank: Int, host: String, numbers: [Double]) {
    self.init(
      rank: rank, host: host, threads: Int(numbers[11]), tokens: Int(numbers[0]),
      seconds: numbers[1],
      forwardSeconds: numbers[2], backwardSeconds: numbers[3],
      loadSeconds: numbers[12], checkSeconds: numbers[13], writeSeconds: numbers[14],
      computeSeconds: numbers[4],
      waitSeconds: numbers[5], flops: numbers[6], flopsPerSecond: numbers[7],
      bytesSent: Int(numbers[8]), messagesSent: Int(numbers[9]),
      instructionSet: InstructionSet.allCases[Int(numbers[15])].rawValue,
      peakResidentBytes: Int(numbers[10]))
  }
}

extension RunReport {
  /// Gathers the ranks' reports; nil on all ranks but 0.
  static func gather(
    _ own: RankReport, plan: AttendPlan, options: AttendCommand, findings: Findings?,
    on world: borrowing Communicator
  ) throws -> WithPattern<RunReport>? {
    guard let ranks = try own.gather(on: world) else { return nil }
    func largest(_ value: (RankReport) -> Double) -> Double { ranks.map(value).max() ?? 0 }
    func imbalance(_ value: (RankReport) -> Double) -> Double {
      let mean = ranks.map(value).reduce(0, +) / Double(ranks.count)
      return mean > 0 ? largest(value) / mean : 1
    }
    let (problem, backward) = (plan.problem, options.gradients ? plan.backward : nil)
    let (seconds, flops) = (largest(\.seconds), ranks.map(\.flops).reduce(0, +))
    let report = RunReport(
      ranks: ranks.count, batch: problem.shape.batch, tokens: problem.queries.tokens,
      keyTokens: problem.keys.tokens, queryHeads: problem.shape.queryHeads,
      kvHeads: problem.shape.kvHeads, headDim: problem.shape.headDim,
      valueHeadDim: problem.shape.valueHeadDim,
      softcap: Nullable(value: options.scoreRule.softcap), alibi: options.scoreRule.alibi,
      bias: options.scoreRule.bias, learnedSinks: options.scoreRule.learnedSinks,
      rope: Nullable(value: options.positions.pairing?.rawValue),
      ropeScaling: Nullable(value: options.positions.ropeScaling.map { "\($0)" }),
      xpos: options.positions.xpos, positionIds: options.positions.positionIds,
      sinkPositions: options.positions.sinkPositions.rawValue,
      layout: problem.queries.layout?.rawValue ?? "explicit",
      layoutReason: Nullable(value: plan.layoutReason),
      wire: problem.wire.rawValue, arithmetic: problem.arithmetic.rawValue,
      threads: ranks.map(\.threads).min() ?? 1,
      instructionSet: InstructionSet.names(
        of: ranks.compactMap { InstructionSet(rawValue: $0.instructionSet) }),
      gradients: options.gradients, reproducible: options.reproducible,
      transport: plan.transport.name, travel: Nullable(value: plan.transport.travel),
      transportReason: plan.transport.reason,
      backwardRoute: Nullable(value: backward?.name),
      backwardRouteReason: Nullable(value: backward?.reason),
      seconds: seconds, forwardSeconds: largest(\.forwardSeconds),
      backwardSeconds: largest(\.backwardSeconds), loadSeconds: largest(\.loadSeconds),
      checkSeconds: largest(\.checkSeconds), writeSeconds: largest(\.writeSeconds), flops: flops,
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
      dilated: Nullable(value: plan.dilated), coverage: Nullable(value: plan.coverage),
      perRank: ranks)
    return WithPattern(options.masks.choice, report)
  }
}
