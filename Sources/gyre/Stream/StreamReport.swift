import Attention
import Doctor
import FoundationEssentials
import LongNet
import MPI
import Reporting
import SequenceParallel

/// What one rank did, in all runs together.
struct StreamRankReport: Codable {
  var rank = 0
  var host = ""
  let threads: Int
  let windows: Int
  /// Of ``windows``, those that earlier runs had finished.
  let resumedWindows: Int
  let seconds: Double
  let readSeconds: Double
  let computeSeconds: Double
  let peakResidentBytes: Int

  fileprivate init(_ state: StreamState, threads: Int, resumed: Int) {
    self.threads = threads
    windows = state.windows
    resumedWindows = resumed
    seconds = state.seconds
    readSeconds = state.readSeconds
    computeSeconds = state.computeSeconds
    peakResidentBytes = state.peakResidentBytes
  }
}

/// What all ranks did, as rank 0 reports it.
///
/// The names are the fields of the JSON object.
struct StreamReport: Encodable {
  let ranks: Int
  /// Of the rank with fewest.
  let threads: Int
  /// Whose kernels computed; several if the ranks have different processors.
  let instructionSet: String
  let batch: Int
  let tokens: Int
  let queryHeads: Int
  let kvHeads: Int
  let headDim: Int
  let valueHeadDim: Int
  /// As `--dilated` takes them.
  let branches: String
  let headOffset: String
  let windowTokens: Int
  let windows: Int
  let windowsDone: Int
  /// Of ``windowsDone``, those that earlier runs had finished.
  let resumedWindows: Int
  /// Of the slowest rank, in all runs together, without the check.
  let seconds: Double
  /// Of the slowest rank.
  let readSeconds: Double
  /// Of the slowest rank.
  let computeSeconds: Double
  let tokensPerSecond: Double
  /// Useful ones of all ranks together: 2 · (headDim + valueHeadDim) a visible pair of a branch.
  let flops: Double
  let flopsPerSecond: Double
  /// Of the rank with most.
  let peakResidentBytes: Int
  /// Of outputs and log-sum-exps, bit by bit; the same for any number of ranks and threads, and
  /// any instruction set.
  let outputDigest: String
  let checkedRows: Int
  /// Null unless rows were checked.
  let maxError: Nullable<Double>
  let tolerance: Nullable<Double>
  let perRank: [StreamRankReport]

  /// What is wrong, in words; nil if nothing is.
  var failure: String? {
    guard let maxError = maxError.value, let tolerance = tolerance.value, maxError > tolerance
    else { return nil }
    return "the largest output error is \(maxError), \(tolerance) is allowed"
  }
}

extension StreamReport {
  private struct Part: Codable {
    let state: StreamState
    let threads: Int
    let resumed: Int
    let host: String
    let instructionSet: String
  }

  /// Gathers the ranks' states; nil on all ranks but 0.
  static func gather(
    _ state: StreamState, resumed: Int, attention: StreamedDilatedAttention, threads: Int,
    options: StreamCommand, on world: borrowing Communicator
  ) throws -> WithPattern<StreamReport>? {
    let own = Part(
      state: state, threads: threads, resumed: resumed, host: MPIEnvironment.processorName,
      instructionSet: InstructionSet.inUse.rawValue)
    guard let all = try world.gather(Array(JSONEncoder().encode(own)), at: 0) else { return nil }
    let parts = try all.map { try JSONDecoder().decode(Part.self, from: Data($0)) }
    let ranks = parts.enumerated().map { rank, part in
      var report = StreamRankReport(part.state, threads: part.threads, resumed: part.resumed)
      (report.rank, report.host) = (rank, part.host)
      return report
    }
    var finding = DilatedSampleCheck.Finding()
    var digest = OutputDigest()
    for part in parts {
      finding.add(part.state.finding)
      digest.add(part.state.outputDigest)
    }
    let shape = attention.shape
    let seconds = ranks.map(\.seconds).max() ?? 0
    let flops = parts.reduce(0) { $0 + $1.state.pairs } * Double(shape.forwardFlopsPerPair)
    let done = parts.reduce(0) { $0 + $1.state.tokens }
    let report = StreamReport(
      ranks: ranks.count, threads: ranks.map(\.threads).min() ?? 1,
      instructionSet: InstructionSet.names(
        of: parts.compactMap { InstructionSet(rawValue: $0.instructionSet) }),
      batch: shape.batch, tokens: attention.tokens,
      queryHeads: shape.queryHeads, kvHeads: shape.kvHeads, headDim: shape.headDim,
      valueHeadDim: shape.valueHeadDim, branches: "\(options.dilated)",
      headOffset: "\(options.headOffset)", windowTokens: attention.windowTokens,
      windows: attention.windowCount, windowsDone: ranks.reduce(0) { $0 + $1.windows },
      resumedWindows: ranks.reduce(0) { $0 + $1.resumedWindows }, seconds: seconds,
      readSeconds: ranks.map(\.readSeconds).max() ?? 0,
      computeSeconds: ranks.map(\.computeSeconds).max() ?? 0,
      tokensPerSecond: seconds > 0 ? Double(done) / seconds : 0, flops: flops,
      flopsPerSecond: seconds > 0 ? flops / seconds : 0,
      peakResidentBytes: ranks.map(\.peakResidentBytes).max() ?? 0,
      outputDigest: "\(digest)", checkedRows: finding.rows,
      maxError: Nullable(value: options.verify ? finding.maxError : nil),
      tolerance: Nullable(value: options.verify ? finding.tolerance : nil), perRank: ranks)
    return WithPattern(options.masks.choice, report)
  }
}
