import Attention
import LongNet
import Reporting
import SequenceParallel
import Sharding

/// What a report says of dilated attention besides the rest.
struct DilatedReport: Encodable {
  /// As `--dilated` takes them.
  let branches: String
  let headOffset: String
  /// Where branches are computed, and why there; null where they are one mask of dense attention.
  let placement: Nullable<String>
  let placementReason: String
  let branchWeightsGradient: String
  /// Mean over greatest number of (query, key) pairs a rank; null without a placement.
  let predictedBalance: Nullable<Double>
}

/// The same as one JSON object.
struct PlacementPlanReport: Encodable {
  let dilated: DilatedReport
  let ranks: Int
  let tokens: Int
  /// Of each rank: visible pairs, segments and bytes.
  let perRank: [Share]

  struct Share: Encodable {
    let rank: Int
    let pairs: Int
    let segments: Int
    let bytesSent: Int
    let backwardBytesSent: Int
  }

  init(_ explanation: PlacementExplanation) {
    dilated = explanation.report
    ranks = explanation.problem.ranks
    tokens = explanation.problem.sharding.tokens
    perRank = explanation.summary.shares.enumerated().map { rank, share in
      Share(
        rank: rank, pairs: share.pairs, segments: share.segments, bytesSent: share.bytesSent,
        backwardBytesSent: explanation.gradients ? share.backwardBytesSent : 0)
    }
  }
}

/// What a placement comes to, as `--explain` prints it.
struct PlacementExplanation {
  let problem: ShardedDilatedAttention
  let placement: Placement
  let report: DilatedReport
  let summary: PlacementSummary
  let gradients: Bool

  private var pattern: DilatedPattern { problem.pattern }

  /// A heading, a line for each rank, and the balance.
  var text: String {
    let branches = pattern.branches.map { "\(grouped($0.segmentLength)):\($0.dilationRate)" }
    let total = summary.shares.reduce(0) { $0 + $1.pairs }
    let dense = share(total: total)
    let part = dense > 0 && dense < 5e-4 ? "\(scientific(100 * dense)) %" : percent(dense)
    let list = branches.joined(separator: ", ")
    return """
      Placement \(placement) (\(report.placementReason)) of branches \(list):

      \(table(rows(total: total)))

      \(grouped(total)) pairs in all, \(part) of dense attention's; predicted balance \
      \(percent(summary.balance)): the mean number of pairs a rank over the greatest.
      A segment counts once for each family: heads of a branch that select the same rows, \
      \(summary.families) in all branches.

      """
  }

  private func rows(total: Int) -> [[String]] {
    var header = ["rank", "rates", "segments", "pairs", "share", "sends"]
    if gradients { header.append("sends backward") }
    return [header]
      + summary.shares.enumerated().map { rank, share in
        let rates = share.branches.map { "\(pattern.branches[$0].dilationRate)" }
        let part = total == 0 ? 0 : Double(share.pairs) / Double(total)
        var row = [
          "\(rank)", rates.isEmpty ? "none" : rates.joined(separator: " "),
          grouped(share.segments), grouped(share.pairs), percent(part),
          formatBytes(Double(share.bytesSent)),
        ]
        if gradients { row.append(formatBytes(Double(share.backwardBytesSent))) }
        return row
      }
  }

  /// The part of the pairs that dense attention would have.
  private func share(total: Int) -> Double {
    let tokens = Double(problem.sharding.tokens)
    let heads = Double(problem.shape.queryHeads * problem.shape.batch)
    let dense = pattern.isCausal ? tokens * (tokens + 1) / 2 : tokens * tokens
    return dense == 0 ? 0 : Double(total) / (dense * heads)
  }
}
