import Reporting
import Results

/// How well a model foretells the same tokens by one scheme and from so many before.
struct PerplexityRow {
  /// The file or folder, without what leads to it.
  let model: String
  let architecture: String
  let cacheType: String
  /// As it was given.
  let scheme: String
  /// Tokens that end with those that count.
  let context: Int
  /// The last of them, the same in all rows.
  let countedTokens: Int
  let ranks: Int
  let threads: Int
  let nll: Double
  let perplexity: Double
  let seconds: Double
  let prefillTokensPerSecond: Double
  let ownBytesNeeded: Int
}

extension PerplexityRow: BenchResult {
  static let benchmark = "perplexity"

  static let keys = [
    "model", "architecture", "cacheType", "scheme", "context", "countedTokens", "ranks", "threads",
  ]

  static let figures = [
    "nll", "perplexity", "seconds", "prefillTokensPerSecond", "ownBytesNeeded",
  ]

  static let keyColumns = 2
  static let dispensableColumns = ["memory", "tokens/s", "−ln p"]

  static func table(of results: [PerplexityRow]) -> [[String]] {
    [["scheme", "context", "−ln p", "perplexity", "tokens/s", "memory"]]
      + results.map { row in
        [
          row.scheme, grouped(row.context), fixed(row.nll, 4), threeDigits(row.perplexity),
          threeDigits(row.prefillTokensPerSecond), formatBytes(Double(row.ownBytesNeeded)),
        ]
      }
  }

  static func remarks(on results: [PerplexityRow]) -> [String] {
    guard let first = results.first else { return [] }
    return [
      "Of the same \(counted(first.countedTokens, "token")) at the end of the text, from "
        + "contexts that end with them."
    ]
  }
}
