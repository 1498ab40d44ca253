import Attention
import Reporting

extension StreamReport {

  /// A table with a line for each rank, and a summary.
  func text(under pattern: PatternChoice) -> String {
    ([heading(pattern), ""] + [table(rows), ""] + summary).joined(separator: "\n")
  }

  private func heading(_ pattern: PatternChoice) -> String {
    let dims =
      valueHeadDim == headDim
      ? "head dim \(headDim)" : "head dim \(headDim), values \(valueHeadDim)"
    let sequences = batch == 1 ? "" : "\(batch) sequences of "
    return
      "\(capitalized("\(pattern)")) dilated attention: \(sequences)\(grouped(tokens)) tokens, "
      + "\(queryHeads) query head\(queryHeads == 1 ? "" : "s"), "
      + "\(kvHeads) KV head\(kvHeads == 1 ? "" : "s"), \(dims); branches \(branches), "
      + "offsets \(headOffset); windows of \(grouped(windowTokens)) on "
      + "\(ranks) rank\(ranks == 1 ? "" : "s")"
      + " of \(threadWords(perRank.map(\.threads))) with \(instructionSet)."
  }

  private var rows: [[String]] {
    [["rank", "host", "windows", "in all", "reading", "computing", "peak memory"]]
      + perRank.map { rank in
        [
          "\(rank.rank)", rank.host, grouped(rank.windows), formatSeconds(rank.seconds),
          formatSeconds(rank.readSeconds), formatSeconds(rank.computeSeconds),
          formatBytes(Double(rank.peakResidentBytes)),
        ]
      }
  }

  private var summary: [String] {
    var lines = [
      "\(grouped(windowsDone)) of \(grouped(windows)) windows"
        + (resumedWindows == 0 ? "" : ", \(grouped(resumedWindows)) of them by earlier runs")
        + ", in \(formatSeconds(seconds)): \(threeDigits(tokensPerSecond)) tokens/s, "
        + "\(threeDigits(flops / 1e9)) GFLOP of useful work, "
        + "\(threeDigits(flopsPerSecond / 1e9)) GFLOP/s together.",
      "Digest of the output: \(outputDigest).",
    ]
    if let remark = unequalThreads(perRank.map(\.threads), remedy: nil) { lines.append(remark) }
    if let maxError = maxError.value, let tolerance = tolerance.value {
      lines.append(
        "Check of \(checkedRows) rows in double precision: largest error "
          + "\(scientific(maxError)), allowed \(scientific(tolerance)): "
          + (maxError <= tolerance ? "passed." : "FAILED."))
    }
    return lines
  }
}
