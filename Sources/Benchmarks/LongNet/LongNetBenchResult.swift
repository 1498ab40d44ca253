package import Attention
import Reporting

/// One row of the LongNet benchmark.
package typealias LongNetBenchResult = WithPattern<LongNetBenchFields>

/// What such a row has besides the masks.
package struct LongNetBenchFields {
  let pass: KernelPass
  let tokens: Int
  let attention: AttentionKind
  /// `segmentLength:dilationRate,…`; nil for dense attention.
  let branches: String?
  let headDim: Int
  let queryHeads: Int
  let kvHeads: Int
  let threads: Int
  let clock: BenchClock
  /// The median.
  let seconds: Double
  /// The bounds of its confidence interval.
  let secondsLow: Double
  let secondsHigh: Double
  /// From the first to the third quartile, as a fraction of the median.
  let spread: Double
  /// (query, key) pairs of all heads; one that several branches share counts in each.
  let pairs: Int
  /// Useful floating-point operations: those of the pairs.
  let flops: Double
  let flopsPerSecond: Double
  /// Of one core, measured between the repeats.
  let fmaPeakFlopsPerSecond: Double
  /// Of the peak of as many cores as there are threads.
  let fractionOfPeak: Double
  /// Flops a second over those of dense attention, of as many tokens or else of the most that it
  /// was measured with; nil for dense attention, or where it was not measured.
  let relativeToDense: Double?
  /// Seconds over those of the same attention at the number of tokens before; nil for the first.
  let timeRatio: Double?

  enum AttentionKind: String, Encodable {
    case dilated, dense
  }
}

extension LongNetBenchFields: PatternedFields {
  package static let benchmark = "longnet"

  package static let keys =
    ["pass", "tokens", "attention", "branches", "headDim", "queryHeads", "kvHeads"]
    + PatternChoice.fields + ["threads", "clock"]

  package static let figures = [
    "seconds", "secondsLow", "secondsHigh", "spread", "pairs", "flops", "flopsPerSecond",
    "fmaPeakFlopsPerSecond", "fractionOfPeak", "relativeToDense", "timeRatio",
  ]

  package static let keyColumns = 7
  package static let dispensableColumns = ["spread", "of peak", "GFLOP/s", "of dense"]

  package static func remarks(on results: [LongNetBenchResult]) -> [String] {
    [Spread.remark(results.map(\.spread))].compactMap { $0 }
  }

  package static func table(of results: [LongNetBenchResult]) -> [[String]] {
    let header = [
      "pass", "mask", "head dim", "threads", "tokens", "attention", "branches", "time", "spread",
      "× before", "GFLOP/s", "of peak", "of dense",
    ]
    return [header]
      + results.map { result in
        [
          result.pass.rawValue, "\(result.pattern)", "\(result.headDim)",
          "\(result.threads)", grouped(result.tokens), result.attention.rawValue,
          result.shortBranches, "\(threeDigits(result.seconds * 1e3)) ms",
          "\(fixed(result.spread * 100, 1)) %", result.timeRatio.map { fixed($0, 2) } ?? "",
          threeDigits(result.flopsPerSecond / 1e9), "\(fixed(result.fractionOfPeak * 100, 1)) %",
          result.relativeToDense.map { fixed($0, 2) } ?? "",
        ]
      }
  }

  /// The first and the last branch.
  fileprivate var shortBranches: String {
    guard let list = branches?.split(separator: ","), let first = list.first, let last = list.last
    else { return "" }
    return switch list.count {
    case 1: String(first)
    case 2: "\(first), \(last)"
    default: "\(first), … \(last)"
    }
  }
}
