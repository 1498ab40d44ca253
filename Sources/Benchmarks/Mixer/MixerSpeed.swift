import Reporting

/// What came out in the benchmark of operators.
package struct MixerSpeed {
  /// Rounds that count.
  let repeats: Int
  /// Of the slowest rank, the median over rounds, as all figures are.
  let seconds: Double
  /// The bounds of its confidence interval.
  let secondsLow: Double
  let secondsHigh: Double
  /// From the first to the third quartile, as a fraction of the median.
  let spread: Double
  /// Of all sequences together.
  let tokensPerSecond: Double
  /// Seconds over those of the same at the number of tokens before; null for the first.
  let timeRatio: Nullable<Double>
  /// Of all threads of a rank, mean over ranks: what a machine that others use too has given.
  let processorSeconds: Double
  /// The same of processor time.
  let processorTimeRatio: Nullable<Double>
  /// Useful ones of all ranks, exponentials as one.
  let flops: Double
  let flopsPerSecond: Double
  /// Of one core, measured between the rounds.
  let fmaPeakFlopsPerSecond: Double
  /// Bytes that inputs and outputs are, of all ranks.
  let leastBytes: Double
  let bytesPerSecond: Double
  /// What as many threads as a rank has read of memory, measured between the rounds.
  let memoryBandwidthBytesPerSecond: Double
  /// `memory` or `multiply-add`: which of both takes longer.
  let bound: String
  /// The time that the bound alone would take, over the time.
  let fractionOfBound: Double
  /// Mean over ranks.
  let computeSeconds: Double
  let exposedSeconds: Double
  /// Of the rank that sends most.
  let bytesSentPerRank: Int
  let messagesPerRank: Int
}

extension MixerSpeed {
  /// What a rank cannot be faster than.
  struct Bound {
    let threads: Int
    /// Of a core.
    let peak: Double
    /// Of the threads of a rank together.
    let bandwidth: Double
  }

  /// What is done in a pass.
  struct Work {
    let flops: Double
    /// That have to be read and written at least.
    let bytes: Double
    /// Of all sequences.
    let tokens: Int
    let ranks: Int
  }

  /// - Parameter earlier: the same at the number of tokens before.
  init(_ contestant: Contestant, before earlier: Contestant?, _ work: Work, _ bound: Bound) {
    let times = contestant.seconds
    let (seconds, ranks) = (times.median, Double(work.ranks))
    let multiplying = work.flops / (bound.peak * Double(bound.threads) * ranks)
    let reading = work.bytes / (bound.bandwidth * ranks)
    self.init(
      repeats: contestant.rounds.count, seconds: seconds, secondsLow: times.interval.lowerBound,
      secondsHigh: times.interval.upperBound, spread: times.spread,
      tokensPerSecond: Double(work.tokens) / seconds,
      timeRatio: Nullable(value: earlier.map { times.medianRatio(to: $0.seconds) }),
      processorSeconds: contestant.mean(\.processorSeconds).median,
      processorTimeRatio: Nullable(
        value: earlier.map {
          contestant.mean(\.processorSeconds).medianRatio(to: $0.mean(\.processorSeconds))
        }),
      flops: work.flops, flopsPerSecond: work.flops / seconds,
      fmaPeakFlopsPerSecond: bound.peak, leastBytes: work.bytes,
      bytesPerSecond: work.bytes / seconds, memoryBandwidthBytesPerSecond: bound.bandwidth,
      bound: reading > multiplying ? "memory" : "multiply-add",
      fractionOfBound: max(reading, multiplying) / seconds,
      computeSeconds: contestant.mean(\.computing).median,
      exposedSeconds: contestant.mean(\.waiting).median,
      bytesSentPerRank: contestant.largest(\.bytesSent),
      messagesPerRank: contestant.largest(\.messagesSent))
  }
}

extension MixerSpeed: MixerFigures {
  package static let benchmark = "mix"

  package static let names = [
    "repeats", "seconds", "secondsLow", "secondsHigh", "spread", "tokensPerSecond", "timeRatio",
    "processorSeconds", "processorTimeRatio", "flops", "flopsPerSecond", "fmaPeakFlopsPerSecond",
    "leastBytes", "bytesPerSecond",
    "memoryBandwidthBytesPerSecond", "bound", "fractionOfBound", "computeSeconds",
    "exposedSeconds", "bytesSentPerRank", "messagesPerRank",
  ]

  package static let header = [
    "time", "spread", "× before", "tokens/s", "GFLOP/s", "GB/s", "of bound", "bound", "exposed",
    "sent a rank", "messages",
  ]

  package static let dispensable = [
    "messages", "exposed", "sent a rank", "spread", "GB/s", "GFLOP/s", "bound",
  ]

  package static func remarks(on figures: [MixerSpeed]) -> [String] {
    [Spread.remark(figures.map(\.spread))].compactMap { $0 }
  }

  package var cells: [String] {
    [
      milliseconds(seconds), percent(spread), timeRatio.value.map { fixed($0, 2) } ?? "",
      threeDigits(tokensPerSecond), threeDigits(flopsPerSecond / 1e9),
      threeDigits(bytesPerSecond / 1e9), percent(fractionOfBound), bound,
      milliseconds(exposedSeconds), formatBytes(Double(bytesSentPerRank)), "\(messagesPerRank)",
    ]
  }
}
