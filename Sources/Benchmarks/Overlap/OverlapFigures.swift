package import Reporting

/// What came out in the benchmark of overlap.
package struct OverlapFigures {
  /// Rounds that count.
  package let repeats: Int
  /// Of the slowest rank, the median over rounds, as all figures are.
  package let seconds: Double
  /// The bounds of its confidence interval.
  package let secondsLow: Double
  package let secondsHigh: Double
  /// From the first to the third quartile, as a fraction of the median.
  package let spread: Double
  /// With transfers that end before a block is computed.
  package let noOverlapSeconds: Double
  /// Without any transfer; null, as the next two, where ranks share heads.
  package let computeOnlySeconds: Nullable<Double>
  /// Of the transfers alone, with nothing to compute.
  package let transferSeconds: Nullable<Double>
  /// The part of the transfers that does not show, from 0 to 1; null where there are none.
  package let hiddenFraction: Nullable<Double>
  /// Seconds over those without any transfer.
  package let ratioToComputeOnly: Nullable<Double>
  /// Of the rank that sends most.
  package let bytesSentPerRank: Int
  package let messagesPerRank: Int
  /// Useful ones, of all ranks.
  package let flops: Double
  package let flopsPerSecond: Double
}

extension OverlapFigures: AttentionFigures {
  package static let benchmark = "overlap"

  package static let names = [
    "repeats", "seconds", "secondsLow", "secondsHigh", "spread", "noOverlapSeconds",
    "computeOnlySeconds", "transferSeconds", "hiddenFraction", "ratioToComputeOnly",
    "bytesSentPerRank", "messagesPerRank", "flops", "flopsPerSecond",
  ]

  package static let header = [
    "time", "spread", "no overlap", "compute only", "transfers", "hidden", "× compute only",
    "sent a rank",
  ]

  package static let dispensable = ["sent a rank", "× compute only", "spread", "no overlap"]

  package static func remarks(on results: [AttentionResult<OverlapFigures>]) -> [String] {
    let sentences = results.compactMap { row in
      row.figures.room.map { "\(results.count == 1 ? "" : "\(row.key.words): ")\($0)" }
    }
    return sentences + [Spread.remark(results.map(\.figures.spread))].compactMap { $0 }
  }

  /// How much of the transfers there is computing to hide behind; nil where that was not measured.
  package static func room(transfers: Double, computing: Double) -> String? {
    guard transfers > 0, computing > 0 else { return nil }
    let ratio = transfers / computing
    return "Transfers take \(threeDigits(ratio)) times the computing: "
      + (ratio > 1
        ? "at most \(fixed(100 / ratio, 0)) % of them can be hidden" : "all of them can be hidden")
      + "."
  }

  private var room: String? {
    guard bytesSentPerRank > 0, let transfers = transferSeconds.value,
      let computing = computeOnlySeconds.value
    else { return nil }
    return Self.room(transfers: transfers, computing: computing)
  }

  package var cells: [String] {
    [
      milliseconds(seconds), percent(spread), milliseconds(noOverlapSeconds),
      computeOnlySeconds.value.map(milliseconds) ?? "",
      transferSeconds.value.map(milliseconds) ?? "", hiddenFraction.value.map(percent) ?? "",
      ratioToComputeOnly.value.map { fixed($0, 3) } ?? "", formatBytes(Double(bytesSentPerRank)),
    ]
  }
}
