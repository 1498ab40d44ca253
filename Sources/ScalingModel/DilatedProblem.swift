public import Attention
public import SequenceParallel
public import Sharding

/// LongNet's dilated self-attention over a sequence that ranks share.
public struct DilatedProblem: Sendable {
  /// Heads and head dims.
  public let shape: AttentionShape
  /// Tokens of a sequence.
  public let tokens: Int
  /// Which rank holds which.
  public let layout: Layout
  /// Branches, offsets and mask.
  public let pattern: DilatedPattern

  /// Describes a problem.
  public init(shape: AttentionShape, tokens: Int, layout: Layout, pattern: DilatedPattern) {
    self.shape = shape
    self.tokens = tokens
    self.layout = layout
    self.pattern = pattern
  }
}

extension Cluster {
  /// The most ranks for which the placement of dilated attention, every segment of it, is worked out.
  public static let mostDilatedRanks = 1024

  /// Predicts one pass of dilated attention, from the plan that the operator itself would follow: who
  /// computes which segments, and what each rank sends for that.
  ///
  /// Rows come in rounds, each while the one before is computed, and results go home likewise: what
  /// cannot hide are the rows of the first round and the results of the last, and what the link of a
  /// host takes longer than its slowest rank computes.
  ///
  /// - Precondition: at most ``mostDilatedRanks``.
  /// - Complexity: O(P · segments).
  public func predict(
    _ problem: DilatedProblem, ranks: Int, placement: Placement, pass: AttentionPass,
    progress: (_ share: Double) -> Void = { _ in }
  ) -> Prediction {
    let home = Sharding(problem.layout, tokens: problem.tokens, ranks: ranks)
    let sharded = ShardedAttention(
      shape: problem.shape, queries: home, keys: home, pattern: problem.pattern)
    let plan = DilatedPlan(
      problem.pattern, shape: problem.shape, home: home, placement: placement)
    let flopsPerPair = problem.shape.flopsPerPair(pass)
    let computing = (0..<ranks).map { rank in
      plan.tasks[rank].reduce(0.0) { sum, task in
        sum + visitSeconds
          + Double(plan.pairs(task)) * flopsPerPair
          / (kernel.flopsPerSecond(
            tokens: Double(max(1, task.keyCount)), pass, isMasked: problem.pattern.isCausal)
            * Double(threads))
      }
    }
    let bytes = (0..<ranks).map { rank in
      progress(Double(rank) / Double(ranks))
      return pass == .forward
        ? plan.bytesSent(
          by: rank, outward: plan.forwardOutward,
          homeward: plan.forwardHomeward(withRemainder: false))
        : plan.bytesSent(
          by: rank, outward: plan.backwardOutward, homeward: plan.backwardHomeward)
    }
    let hosts = hostsOfRanks(ranks)
    let count = self.hosts(ranks: ranks)
    let others = Double(ranks - min(ranks, ranksPerHost)) / Double(max(1, ranks - 1))
    var leaving = [Double](repeating: 0, count: count)
    for (rank, host) in hosts.enumerated() { leaving[host] += Double(bytes[rank]) * others }
    let inside = bytes.map { Double($0) * (1 - others) / self.inside.bytesPerSecond }.max() ?? 0
    let sending = max((leaving.max() ?? 0) / network.bytesPerSecond, inside)

    let total = computing.reduce(0, +)
    let mean = total / Double(ranks)
    let moved = Double(bytes.reduce(0, +)) / Double(ranks)
    let working =
      moved * 2
      * (others * network.cpuSecondsPerByte + (1 - others) * self.inside.cpuSecondsPerByte)
    let cores = Double(self.cores ?? Int.max)
    let sharing = sharesCores ? Double(ranks) : Double(min(ranks, ranksPerHost))
    let slowest = (computing.max() ?? 0) + working
    // Cores that are shared limit by the work of all, however it is spread.
    let computed = max(slowest, (mean + working) * sharing * Double(threads) / cores)
    let roundBytes = Double(DilatedAttention.Options().roundBytes)
    let rounds = max(1, moved / roundBytes)
    let messages = 2 * rounds.rounded(.up) * network.latency
    let seconds = max(computed, sending) + sending / rounds + messages + startUp
    let losses: [(Prediction.Limit, Double)] = [
      (.bandwidth, max(0, sending - computed) + sending / rounds), (.latency, messages),
      (.imbalance, slowest - mean), (.cores, computed - slowest),
    ]
    let efficiency = mean / seconds
    return Prediction(
      ranks: ranks, hosts: count, seconds: seconds, computeSeconds: mean,
      exposedSeconds: max(0, seconds - computed), imbalanceSeconds: slowest - mean,
      bytesSentPerRank: Double(bytes.max() ?? 0),
      residentBytes: DilatedAttention.residentBytes(
        sharded, rank: 0, gradients: pass == .backward),
      flops: (0..<ranks).reduce(0.0) { $0 + Double(plan.pairs(rank: $1)) } * flopsPerPair,
      efficiency: efficiency,
      limit: efficiency > 0.98 ? .none : losses.max { $0.1 < $1.1 }?.0 ?? .none)
  }
}
