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
    let isAbove = results.contains { $0.figures.efficiency > 1.005 }
    let efficiency =
      isAbove
      ? "Efficiency above 100 %: times are uncertain by their spread, and what a rank of many "
        + "holds may fit a cache that the whole does not." : nil
    return [Spread.remark(results.map(\.figures.spread)), efficiency].compactMap { $0 }
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
