import Reporting
import Results

/// One row of a prediction of an operator.
struct MixerPredictResult {
  let pass: String
  let mixer: String
  let causal: Bool
  /// Of all dimensions but tokens.
  let sizes: String
  let ranks: Int
  let hosts: Int
  let threads: Int
  let tokens: Int
  let seconds: Double
  let tokensPerSecond: Double
  /// Mean over ranks.
  let computeSeconds: Double
  /// What messages, and waiting for the first state, add.
  let exposedSeconds: Double
  /// Of the rank that sends most.
  let bytesSentPerRank: Double
  let messagesPerRank: Int
  let residentBytes: Double
  let flops: Double
  let flopsPerSecond: Double
  let efficiency: Double
  /// What most of the lost time goes to.
  let limit: String
}

extension MixerPredictResult: BenchResult {
  static let benchmark = "predict"

  static let keys = [
    "pass", "mixer", "causal", "sizes", "ranks", "hosts", "threads", "tokens",
  ]

  static let figures = [
    "seconds", "tokensPerSecond", "computeSeconds", "exposedSeconds", "bytesSentPerRank",
    "messagesPerRank", "residentBytes", "flops", "flopsPerSecond", "efficiency", "limit",
  ]

  static let keyColumns = 6
  static let dispensableColumns = [
    "memory a rank", "messages", "sent a rank", "FLOP/s", "exposed", "computing",
  ]

  static func table(of results: [MixerPredictResult]) -> [[String]] {
    let header = [
      "pass", "mixer", "sizes", "ranks", "hosts", "tokens", "time", "computing", "exposed",
      "sent a rank", "messages", "memory a rank", "FLOP/s", "efficiency", "lost to",
    ]
    return [header]
      + results.map { row in
        [
          row.pass, row.mixer + (row.causal ? ", causal" : ""), row.sizes, grouped(row.ranks),
          grouped(row.hosts), grouped(row.tokens), longTime(row.seconds),
          longTime(row.computeSeconds), longTime(row.exposedSeconds),
          formatBytes(row.bytesSentPerRank), grouped(row.messagesPerRank),
          formatBytes(row.residentBytes), withPrefix(row.flopsPerSecond),
          percent(row.efficiency), row.limit,
        ]
      }
  }
}
