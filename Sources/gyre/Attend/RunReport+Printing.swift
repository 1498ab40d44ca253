import Attention
import Reporting

extension RunReport {
  /// A table with a line for each rank, and a summary.
  func text(under pattern: PatternChoice) -> String {
    ([heading(pattern), ""] + [table(rows), ""] + summary).joined(separator: "\n")
  }

  private func heading(_ pattern: PatternChoice) -> String {
    let length =
      keyTokens == tokens
      ? "\(grouped(tokens)) tokens"
      : "\(grouped(tokens)) queries over \(grouped(keyTokens)) keys"
    let dims =
      valueHeadDim == headDim
      ? "head dim \(headDim)" : "head dim \(headDim), values \(valueHeadDim)"
    let cap = softcap.value.map { ", scores capped at ±\($0)" } ?? ""
    let scaling = ropeScaling.value.map { " scaled by \($0)" } ?? ""
    let positions =
      rope.value == nil ? "" : ", rotary positions\(scaling)\(xpos ? " with decay (xPos)" : "")"
    let biases =
      (alibi ? ", linear biases" : "") + (bias ? ", a bias" : "")
      + (learnedSinks ? ", learned sinks" : "")
    let sequences = batch == 1 ? "" : "\(batch) sequences of "
    let kind = dilated.value == nil ? "attention" : "dilated attention"
    let extent = pattern.isCausal ? "causal " : pattern == .full ? "full " : ""
    let others = pattern.masks.filter { !($0 is CausalMask) }.map(\.words)
    let besides = others.isEmpty ? "" : " with " + listed(others)
    return "\(capitalized(extent + kind))\(besides): \(sequences)\(length), "
      + "\(queryHeads) query head\(queryHeads == 1 ? "" : "s"), "
      + "\(kvHeads) KV head\(kvHeads == 1 ? "" : "s"), \(dims)\(positions)\(cap)\(biases), "
      + "\(wire) on the wire\(arithmetic == "f32" ? "" : ", \(arithmetic) arithmetic"); "
      + "\(gradients ? "forward and backward; " : "")\(layout) layout on \(ranks) "
      + "rank\(ranks == 1 ? "" : "s")"
      + " of \(threadWords(perRank.map(\.threads))) with \(instructionSet)"
      + ", \(way)."
  }

  /// Where branches are computed, or how blocks travel, and why so.
  private var way: String {
    if let dilated = dilated.value, let placement = dilated.placement.value {
      return "placement \(placement) (\(dilated.placementReason))"
    }
    let reasons =
      [dilated.value?.placementReason].compactMap { $0 }
      + (transportReason == "asked for" ? [] : [transportReason])
    return "transport \(transport)"
      + (reasons.isEmpty ? "" : " (\(reasons.joined(separator: "; ")))")
  }

  private var rows: [[String]] {
    let header = [
      "rank", "host", "tokens", "computing", "waiting", "GFLOP/s", "sent", "peak memory",
    ]
    return [header]
      + perRank.map { rank in
        [
          "\(rank.rank)", rank.host, grouped(rank.tokens), formatSeconds(rank.computeSeconds),
          formatSeconds(rank.waitSeconds), threeDigits(rank.flopsPerSecond / 1e9),
          formatBytes(Double(rank.bytesSent)), formatBytes(Double(rank.peakResidentBytes)),
        ]
      }
  }

  private var split: String {
    gradients
      ? " (forward \(formatSeconds(forwardSeconds)), backward \(formatSeconds(backwardSeconds)))"
      : ""
  }

  /// Shards in proportion to threads, for layouts that have such.
  private var weightsOfThreads: String? {
    guard layout != "striped", perRank.count <= 16 else { return nil }
    let weights = perRank.map { "\($0.threads)" }.joined(separator: ",")
    return "--weights \(weights) gives tokens in proportion"
  }

  /// How much of the allowance is for what travels or is multiplied in fewer bits.
  private var ofWire: String {
    guard let part = wireTolerance.value, part > 0 else { return "" }
    let types =
      (wire == "f32" ? [] : ["\(wire) on the wire"])
      + (arithmetic == "f32" ? [] : ["\(arithmetic) in products"])
    return ", \(scientific(part)) of it for rounding to \(types.joined(separator: " and "))"
  }

  private var summary: [String] {
    var lines = [
      "\(formatSeconds(seconds)) in all\(split), \(threeDigits(flops / 1e9)) GFLOP of useful work, "
        + "\(threeDigits(flopsPerSecond / 1e9)) GFLOP/s together.",
      "The busiest rank has \(threeDigits(workImbalance)) times the mean work "
        + "and computes \(threeDigits(imbalance)) times as long as the mean.",
    ]
    if let reason = layoutReason.value, reason != "asked for", ranks > 1 {
      lines.append("Layout \(layout): \(reason).")
    }
    if let remark = unequalThreads(perRank.map(\.threads), remedy: weightsOfThreads) {
      lines.append(remark)
    }
    if let route = backwardRoute.value, let reason = backwardRouteReason.value {
      lines.append(
        "Backward, \(route == "kv" ? "keys and values" : "queries") travelled: \(reason).")
    }
    if let maxError = maxError.value, let tolerance = tolerance.value {
      lines.append(
        "Check of \(checkedRows) rows in double precision: largest error "
          + "\(scientific(maxError)), allowed \(scientific(tolerance))\(ofWire): "
          + (maxError <= tolerance ? "passed." : "FAILED."))
    }
    if let error = maxGradientError.value, let tolerance = gradientTolerance.value {
      lines.append(
        "Check of gradients: largest error \(scientific(error)), allowed \(scientific(tolerance)): "
          + (error <= tolerance ? "passed." : "FAILED."))
    }
    return lines
  }
}
