public import Attention
public import LongNet

extension Cluster {
  /// The most ranks for which the placement of dilated attention, every segment of it, is worked
  /// out.
  public static let mostDilatedRanks = 1024

  /// Predicts one pass of dilated attention, from the plan that the operator itself would follow:
  /// who computes which segments, and what each rank sends for that.
  ///
  /// Rows come in rounds, each while the one before is computed, and results go home likewise: what
  /// cannot hide are the rows of the first round and the results of the last, and what the link of
  /// a host takes longer than its slowest rank computes.
  ///
  /// - Precondition: at most ``mostDilatedRanks``.
  /// - Complexity: O(P · segments).
  public func predict(
    _ problem: ShardedDilatedAttention, placement: Placement, pass: AttentionPass,
    progress: (_ share: Double) -> Void = { _ in }
  ) -> Prediction {
    let plan = DilatedPlan(problem, placement: placement)
    return crowded(ranks: plan.ranks).predict(
      plan, problem, pass: pass, crowding: coreSlowdown(ranks: plan.ranks), progress: progress)
  }

  /// - Parameter crowding: how many times as long these machines, which are crowded, compute.
  private func predict(
    _ plan: DilatedPlan, _ problem: ShardedDilatedAttention, pass: AttentionPass, crowding: Double,
    progress: (_ share: Double) -> Void
  ) -> Prediction {
    let ranks = plan.ranks
    let computing = (0..<ranks).map { computeSeconds(of: plan, rank: $0, pass) }
    let bytes = (0..<ranks).map { rank in
      progress(Double(rank) / Double(ranks))
      return plan.bytesSent(by: rank, pass)
    }
    let others = Double(ranks - min(ranks, ranksPerHost)) / Double(max(1, ranks - 1))
    let sending = sendSeconds(bytes, toOtherHosts: others)
    let turning = turningSeconds / Double(threads * ranks)
    let mean = computing.reduce(0, +) / Double(ranks) + turning
    let moved = Double(bytes.reduce(0, +)) / Double(ranks)
    let working =
      moved * 2
      * (others * network.cpuSecondsPerByte + (1 - others) * self.inside.cpuSecondsPerByte)
    let cores = Double(self.cores ?? Int.max)
    let sharing = sharesCores ? Double(ranks) : Double(min(ranks, ranksPerHost))
    let slowest = (computing.max() ?? 0) + turning + working
    // Cores that are shared limit by the work of all, however it is spread.
    let computed = max(slowest, (mean + working) * sharing * Double(threads) / cores)
    let rounds = max(1, moved / Double(DilatedAttention.Options().roundBytes))
    let messages = 2 * rounds.rounded(.up) * network.latency
    let seconds = max(computed, sending) + sending / rounds + messages + startUp
    let losses: [(Prediction.Limit, Double)] = [
      (.bandwidth, max(0, sending - computed) + sending / rounds), (.latency, messages),
      (.imbalance, slowest - mean),
      (.cores, computed - slowest + mean * (1 - 1 / crowding)),
    ]
    let efficiency = mean / crowding / seconds
    let pairs = (0..<ranks).reduce(0.0) { $0 + Double(plan.pairs(rank: $1)) }
    return Prediction(
      ranks: ranks, hosts: hosts(ranks: ranks), seconds: seconds, computeSeconds: mean,
      exposedSeconds: max(0, seconds - computed), imbalanceSeconds: slowest - mean,
      bytesSentPerRank: Double(bytes.max() ?? 0),
      residentBytes: problem.residentBytes(rank: 0, gradients: pass == .backward),
      flops: pairs * problem.shape.flopsPerPair(pass), efficiency: efficiency,
      limit: efficiency > 0.98 ? .none : losses.max { $0.1 < $1.1 }?.0 ?? .none)
  }

  private func computeSeconds(of plan: DilatedPlan, rank: Int, _ pass: AttentionPass) -> Double {
    let flopsPerPair = plan.shape.flopsPerPair(pass)
    return plan.tasks[rank].reduce(0.0) { sum, task in
      sum + visitSeconds
        + Double(plan.pairs(task)) * flopsPerPair
        / (kernel.flopsPerSecond(
          tokens: Double(max(1, task.keyCount)), pass, isMasked: plan.pattern.isCausal)
          * Double(threads))
    }
  }

  /// What the link of a host needs, or the memory inside of one, whichever is longer.
  ///
  /// - Parameters:
  ///   - bytes: that each rank sends.
  ///   - others: the share of them that leaves the host.
  private func sendSeconds(_ bytes: [Int], toOtherHosts others: Double) -> Double {
    var leaving = [Double](repeating: 0, count: hosts(ranks: bytes.count))
    for (rank, host) in hostsOfRanks(bytes.count).enumerated() {
      leaving[host] += Double(bytes[rank]) * others
    }
    let inside = bytes.map { Double($0) * (1 - others) / self.inside.bytesPerSecond }.max() ?? 0
    return max((leaving.max() ?? 0) / network.bytesPerSecond, inside)
  }
}

extension DilatedPlan {
  /// The bytes that a rank sends in a pass that no other follows.
  fileprivate func bytesSent(by rank: Int, _ pass: AttentionPass) -> Int {
    switch pass {
    case .forward:
      bytesSent(
        by: rank, outward: forwardOutward, homeward: forwardHomeward(withRemainder: false))
    case .backward:
      bytesSent(by: rank, outward: backwardOutward, homeward: backwardHomeward)
    }
  }
}
