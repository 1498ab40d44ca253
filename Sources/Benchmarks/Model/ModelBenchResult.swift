import Reporting
import Results

/// One row of the benchmark of models, in the words of llama.cpp's `llama-bench`.
package struct ModelBenchResult {
  /// The file or folder, without what leads to it.
  let model: String
  let architecture: String
  let parameters: Int
  /// Of all matrices, as they are stored.
  let weightBytes: Int
  /// `pp512` for a prompt of 512 tokens, `tg128` for 128 tokens one after the other, with
  /// `x4` behind it where four sequences get as many, and `@ d4096` for those that come after
  /// 4,096 others.
  let test: String
  let promptTokens: Int
  let generatedTokens: Int
  /// Sequences that begin alike and get tokens at once.
  let samples: Int
  /// Tokens that are there before.
  let depth: Int
  let ranks: Int
  let hosts: Int
  /// Of a rank.
  let threads: Int
  let chunk: Int
  let cacheType: String
  let arithmetic: String
  /// What the prompt's products with weights are computed of.
  let weightProducts: String
  /// Who multiplies for a token that is generated: `replicated` or `divided`.
  let weights: String
  /// That of the prompt's attention.
  let transport: String
  /// Rounds that count.
  let repeats: Int
  /// Of the slowest rank, the median over rounds.
  let seconds: Double
  /// The bounds of its confidence interval.
  let secondsLow: Double
  let secondsHigh: Double
  /// From the first to the third quartile, as a fraction of the median.
  let spread: Double
  /// The tokens of the test, of all sequences, over the seconds.
  let tokensPerSecond: Double
  /// Over those of the fewest ranks of the same job, the median over rounds.
  let speedup: Double
}

extension ModelBenchResult: BenchResult {
  package static let benchmark = "model"

  package static let keys = [
    "model", "architecture", "parameters", "weightBytes", "test", "promptTokens",
    "generatedTokens", "samples", "depth", "ranks", "hosts", "threads", "chunk",
    "cacheType", "arithmetic", "weightProducts", "weights", "transport",
  ]

  package static let figures = [
    "repeats", "seconds", "secondsLow", "secondsHigh", "spread", "tokensPerSecond", "speedup",
  ]

  package static let keyColumns = 7
  package static let dispensableColumns = [
    "parameters", "size", "transport", "time", "spread", "speedup",
  ]

  package static func remarks(on results: [ModelBenchResult]) -> [String] {
    [Spread.remark(results.map(\.spread))].compactMap { $0 }
  }

  package static func table(of results: [ModelBenchResult]) -> [[String]] {
    let header = [
      "model", "size", "parameters", "ranks", "threads", "transport", "test", "time", "spread",
      "tokens/s", "speedup",
    ]
    return [header]
      + results.map { row in
        [
          row.model, formatBytes(Double(row.weightBytes)),
          "\(threeDigits(Double(row.parameters) / 1e6)) M", "\(row.ranks)", "\(row.threads)",
          row.transport, row.test, milliseconds(row.seconds), percent(row.spread),
          threeDigits(row.tokensPerSecond), fixed(row.speedup, 2),
        ]
      }
  }
}
