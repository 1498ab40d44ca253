import Reporting
import Results

/// One row of a prediction of a model.
struct ModelPredictResult {
  let model: String
  /// `pp4096` for a prompt of 4,096 tokens, `tg @ d4096` for a token after so many.
  let test: String
  /// Of a prompt; empty for a token.
  let transport: String
  let ranks: Int
  let hosts: Int
  let threads: Int
  let tokens: Int
  let cacheType: String
  /// Of the prompt, or of a token.
  let seconds: Double
  let tokensPerSecond: Double
  let productSeconds: Double
  let attentionSeconds: Double
  let exchangeSeconds: Double
  let bytesSentPerRank: Double
  /// Of a rank, beside the weights that ranks of a host share.
  let ownBytesNeeded: Int
}

extension ModelPredictResult: BenchResult {
  static let benchmark = "predict model"

  static let keys = [
    "model", "test", "transport", "ranks", "hosts", "threads", "tokens", "cacheType",
  ]

  static let figures = [
    "seconds", "tokensPerSecond", "productSeconds", "attentionSeconds", "exchangeSeconds",
    "bytesSentPerRank", "ownBytesNeeded",
  ]

  static let keyColumns = 4
  static let dispensableColumns = ["exchanges", "sent a rank", "attention", "products"]

  static func table(of results: [ModelPredictResult]) -> [[String]] {
    let header = [
      "test", "by", "ranks", "hosts", "time", "tokens/s", "products", "attention", "exchanges",
      "sent a rank", "memory a rank",
    ]
    return [header]
      + results.map { row in
        [
          row.test, row.transport, grouped(row.ranks), grouped(row.hosts), longTime(row.seconds),
          threeDigits(row.tokensPerSecond), longTime(row.productSeconds),
          longTime(row.attentionSeconds), longTime(row.exchangeSeconds),
          formatBytes(row.bytesSentPerRank), formatBytes(Double(row.ownBytesNeeded)),
        ]
      }
  }
}
