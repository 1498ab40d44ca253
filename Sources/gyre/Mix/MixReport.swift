import MPI
import Mixers
import Reporting
import Sharding

/// What all ranks did, as rank 0 reports it.
///
/// The names are the fields of the JSON object.
struct MixReport: Encodable {
  let mixer: String
  let ranks: Int
  let batch: Int
  let tokens: Int
  /// The sizes of the tensors, by name.
  let shapes: [String: [Int]]
  let causal: Bool
  let layout: String
  /// Of the rank with fewest.
  let threads: Int
  let gradients: Bool
  /// Of the slowest rank, for the passes themselves.
  let seconds: Double
  let forwardSeconds: Double
  let backwardSeconds: Double
  /// Tokens of all sequences a second, of all passes together.
  let tokensPerSecond: Double
  let loadSeconds: Double
  /// Until the system had provided memory for all that is written.
  let allocateSeconds: Double
  let checkSeconds: Double
  let writeSeconds: Double
  /// Of all ranks together, exponentials as one each.
  let flops: Double
  let flopsPerSecond: Double
  /// The largest of any rank.
  let bytesSentPerRank: Int
  let messagesPerRank: Int
  let computeSeconds: Double
  let waitSeconds: Double
  let peakResidentBytes: Int
  /// Null unless the run was checked.
  let maxError: Nullable<Double>
  let tolerance: Nullable<Double>
  let maxGradientError: Nullable<Double>
  let gradientTolerance: Nullable<Double>
  /// Heads or channels of sequences that were compared, and how many there are.
  let checkedUnits: Int
  let units: Int
  /// Gradients that were not compared.
  let unchecked: [String]
  let perRank: [RankReport]

  /// Gathers the ranks' reports; nil on all ranks but 0.
  static func gather(
    _ run: MixRun, of mixer: any Mixer, _ options: MixCommand, _ finding: MixerCheck.Finding?,
    on world: borrowing Communicator
  ) throws -> MixReport? {
    let allocating = try world.allReduce(run.allocateSeconds, with: .max)
    guard let ranks = try run.report.gather(on: world) else { return nil }
    func largest(_ value: (RankReport) -> Double) -> Double { ranks.map(value).max() ?? 0 }
    let (seconds, flops) = (largest(\.seconds), ranks.map(\.flops).reduce(0, +))
    let units = mixer.batch * mixer.sizes[type(of: mixer).unitDimension]
    return MixReport(
      mixer: options.kind.description, ranks: ranks.count, batch: mixer.batch,
      tokens: mixer.tokens,
      shapes: Dictionary(
        mixer.inputs.map { ($0.name, $0.sizes) }, uniquingKeysWith: { first, _ in first }),
      causal: options.causal, layout: options.layout.rawValue,
      threads: ranks.map(\.threads).min() ?? 1, gradients: options.gradients, seconds: seconds,
      forwardSeconds: largest(\.forwardSeconds), backwardSeconds: largest(\.backwardSeconds),
      tokensPerSecond: seconds > 0 ? Double(mixer.tokens * mixer.batch) / seconds : 0,
      loadSeconds: largest(\.loadSeconds), allocateSeconds: allocating,
      checkSeconds: largest(\.checkSeconds),
      writeSeconds: largest(\.writeSeconds), flops: flops,
      flopsPerSecond: seconds > 0 ? flops / seconds : 0,
      bytesSentPerRank: ranks.map(\.bytesSent).max() ?? 0,
      messagesPerRank: ranks.map(\.messagesSent).max() ?? 0,
      computeSeconds: largest(\.computeSeconds), waitSeconds: largest(\.waitSeconds),
      peakResidentBytes: ranks.map(\.peakResidentBytes).max() ?? 0,
      maxError: Nullable(value: finding?.maxError),
      tolerance: Nullable(value: finding?.tolerance),
      maxGradientError: Nullable(value: finding?.maxGradientError),
      gradientTolerance: Nullable(
        value: finding?.maxGradientError == nil ? nil : finding?.gradientTolerance),
      checkedUnits: finding?.units ?? 0, units: units, unchecked: finding?.unchecked ?? [],
      perRank: ranks)
  }
}

extension MixReport {
  /// A table with a line for each rank, and a summary.
  var text: String {
    ([heading, ""] + [table(rows), ""] + summary).joined(separator: "\n")
  }

  private var heading: String {
    let tensors = shapes.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
    return "\(mixer)\(causal ? ", causal" : ""): \(batch == 1 ? "" : "\(batch) sequences of ")"
      + "\(grouped(tokens)) tokens, \(tensors.joined(separator: ", ")); "
      + "\(gradients ? "forward and backward; " : "")\(layout) layout on "
      + "\(counted(ranks, "rank")) of \(threadWords(perRank.map(\.threads)))."
  }

  private var rows: [[String]] {
    [["rank", "host", "tokens", "computing", "waiting", "GFLOP/s", "sent", "peak memory"]]
      + perRank.map { rank in
        [
          "\(rank.rank)", rank.host, grouped(rank.tokens), formatSeconds(rank.computeSeconds),
          formatSeconds(rank.waitSeconds), threeDigits(rank.flopsPerSecond / 1e9),
          formatBytes(Double(rank.bytesSent)), formatBytes(Double(rank.peakResidentBytes)),
        ]
      }
  }

  private var summary: [String] {
    let split =
      gradients
      ? " (forward \(formatSeconds(forwardSeconds)), backward \(formatSeconds(backwardSeconds)))"
      : ""
    var lines = [
      "\(formatSeconds(seconds)) in all\(split), \(threeDigits(tokensPerSecond)) tokens/s, "
        + "\(threeDigits(flops / 1e9)) GFLOP of useful work."
    ]
    if let remark = unequalThreads(perRank.map(\.threads), remedy: nil) { lines.append(remark) }
    let extent = "\(checkedUnits) of \(units) heads or channels"
    if let maxError = maxError.value, let tolerance = tolerance.value {
      lines.append(
        "Check of \(extent) in double precision: largest error \(scientific(maxError)), allowed "
          + "\(scientific(tolerance)): " + (maxError <= tolerance ? "passed." : "FAILED."))
    }
    if let error = maxGradientError.value, let tolerance = gradientTolerance.value {
      lines.append(
        "Check of gradients along random directions: largest error \(scientific(error)), allowed "
          + "\(scientific(tolerance)): " + (error <= tolerance ? "passed." : "FAILED."))
    }
    if !unchecked.isEmpty {
      lines.append(
        "Not checked, since they are sums over all heads or channels: \(listed(unchecked)).")
    }
    return lines
  }
}
