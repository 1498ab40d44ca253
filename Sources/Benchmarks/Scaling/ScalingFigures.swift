import Reporting

/// What came out in the benchmarks of strong and of weak scaling.
package struct ScalingFigures {
  /// Rounds that count.
  let repeats: Int
  /// Of the slowest rank, the median over rounds, as all figures are.
  let seconds: Double
  /// The bounds of its confidence interval.
  let secondsLow: Double
  let secondsHigh: Double
  /// From the first to the third quartile, as a fraction of the median.
  let spread: Double
  let slowestRankSeconds: Double
  let medianRankSeconds: Double
  let fastestRankSeconds: Double
  /// Time in the kernels, mean over ranks.
  let computeSeconds: Double
  /// Time in which a rank had nothing to compute because a transfer had not ended, mean over ranks.
  let exposedSeconds: Double
  /// Computing of the slowest rank, over the mean.
  let imbalanceSeconds: Double
  /// What the slowest rank takes if nothing is transferred; null where ranks share heads.
  let computeOnlySeconds: Nullable<Double>
  /// Of the rank that sends most.
  let bytesSentPerRank: Int
  let messagesPerRank: Int
  /// Useful ones, of all ranks.
  let flops: Double
  let flopsPerSecond: Double
  /// What speedup and efficiency are in relation to.
  let baseline: String
  /// The quotient of the flops a second.
  let speedup: Double
  /// The quotient of the flops a second and rank.
  let efficiency: Double
  /// The share of the time that computing alone takes, over that of the baseline; null where
  /// computing alone was not measured.
  let efficiencyWithoutContention: Nullable<Double>
}

extension ScalingFigures {
  /// What speedup and efficiency are in relation to.
  struct Baseline {
    let times: Samples
    /// Without any transfer; nil where that was not measured.
    let computing: Samples?
    let flops: Double
    let ranks: Int
  }

  /// - Parameters:
  ///   - computing: what it takes without any transfer; nil where that was not measured.
  ///   - flops: useful ones, of all ranks.
  init(
    _ contestant: Contestant, computing: Samples?, flops: Double, ranks: Int, baseline: Baseline
  ) {
    let times = contestant.seconds
    let speedup = baseline.times.medianRatio(to: times) * flops / baseline.flops
    var share: Double?
    if let computing, let first = baseline.computing {
      share = computing.ratios(to: times).medianRatio(to: first.ratios(to: baseline.times))
    }
    let ofRanks = contestant.rankSeconds
    self.init(
      repeats: contestant.rounds.count, seconds: times.median,
      secondsLow: times.interval.lowerBound, secondsHigh: times.interval.upperBound,
      spread: times.spread, slowestRankSeconds: ofRanks.slowest,
      medianRankSeconds: ofRanks.median, fastestRankSeconds: ofRanks.fastest,
      computeSeconds: contestant.mean(\.computing).median,
      exposedSeconds: contestant.mean(\.waiting).median,
      imbalanceSeconds: contestant.imbalance.median,
      computeOnlySeconds: Nullable(value: computing?.median),
      bytesSentPerRank: contestant.largest(\.bytesSent),
      messagesPerRank: contestant.largest(\.messagesSent), flops: flops,
      flopsPerSecond: flops / times.median,
      baseline: "\(counted(baseline.ranks, "rank")), same job", speedup: speedup,
      efficiency: speedup * Double(baseline.ranks) / Double(ranks),
      efficiencyWithoutContention: Nullable(value: share))
  }

  /// Why efficiency can be above 1.
  static let aboveOne =
    "Efficiency above 100 %: times are uncertain by their spread, and what a rank of many "
    + "holds may fit a cache that the whole does not."
}

extension ScalingFigures: AttentionFigures {
  package static let benchmark = "strong"

  package static let names = [
    "repeats", "seconds", "secondsLow", "secondsHigh", "spread", "slowestRankSeconds",
    "medianRankSeconds", "fastestRankSeconds", "computeSeconds", "exposedSeconds",
    "imbalanceSeconds", "computeOnlySeconds", "bytesSentPerRank", "messagesPerRank", "flops",
    "flopsPerSecond", "baseline", "speedup", "efficiency", "efficiencyWithoutContention",
  ]

  package static let header = [
    "time", "spread", "exposed", "imbalance", "compute only", "sent a rank", "GFLOP/s", "speedup",
    "efficiency", "without contention",
  ]

  package static let dispensable = [
    "imbalance", "compute only", "without contention", "sent a rank", "exposed", "GFLOP/s",
    "spread",
  ]

  package static func remarks(on results: [AttentionResult<ScalingFigures>]) -> [String] {
    remarks(on: results.map(\.figures))
  }

  package var cells: [String] {
    [
      milliseconds(seconds), percent(spread), milliseconds(exposedSeconds),
      milliseconds(imbalanceSeconds), computeOnlySeconds.value.map(milliseconds) ?? "",
      formatBytes(Double(bytesSentPerRank)), threeDigits(flopsPerSecond / 1e9),
      fixed(speedup, 2), percent(efficiency), efficiencyWithoutContention.value.map(percent) ?? "",
    ]
  }
}
