import Attention
import Reporting
import SequenceParallel
import Sharding

/// What one rank is to do.
struct PlannedRank: Encodable {
  let rank: Int
  /// Of the sequence, that it holds.
  let tokens: Int
  let keyTokens: Int
  /// Visible, over all heads and sequences.
  let pairs: Int
  /// Keys of other ranks that its queries see.
  let keysNeeded: Int
  /// Of its own keys those that other ranks see.
  let keysOfUse: Int
  let bytesSent: Double
  let messagesSent: Int
  /// 0 without gradients.
  let backwardBytesSent: Double
  /// The most that its tensors take.
  let residentBytes: Double
}

/// Which ranks see how much of which blocks.
struct CoverageReport: Encodable {
  /// Of each row and column: a rank, or the first and the last of several.
  let ranks: [String]
  /// For the queries of each, a character for the keys of each: `#` all seen, `+` some, `.` none.
  let rows: [String]

  init(_ problem: ShardedAttention) {
    let map = CoverageMap(problem.pattern, queries: problem.queries, keys: problem.keys)
    ranks = map.bands.map {
      $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound - 1)"
    }
    rows = map.cells.map { row in
      String(row.map { $0 == .all ? "#" : $0 == .some ? "+" : "." })
    }
  }
}

/// What `--explain` prints: the plan of a run.
///
/// The names are the fields of the JSON object; those that a run reports too are the same there.
struct PlanReport: Encodable {
  let ranks: Int
  let batch: Int
  let tokens: Int
  let keyTokens: Int
  let queryHeads: Int
  let kvHeads: Int
  let headDim: Int
  let valueHeadDim: Int
  let layout: String
  let layoutReason: String
  let wire: String
  let gradients: Bool
  let transport: String
  let travel: String
  let transportReason: String
  let backwardRoute: Nullable<String>
  let backwardRouteReason: Nullable<String>
  /// Of all ranks, over all heads and sequences.
  let pairs: Int
  /// Largest over mean pairs of a rank.
  let workImbalance: Double
  let coverage: CoverageReport
  let perRank: [PlannedRank]

  /// - Parameter pairs: for each rank, what its queries see.
  init(_ plan: DensePlan, pairs: [Int]) {
    let (problem, planner, route) = (plan.problem, plan.planner, plan.transport.route)
    let shape = problem.shape
    var forward = planner.traffic(on: route, .forward)
    var backward = plan.backward.map { planner.traffic(on: $0.route, .backward) }
    var resident = planner.residentBytes(on: route, backward: plan.backward?.route)
    if let globals = plan.globals {
      forward = forward.adding(globals.planner.traffic(on: globals.route, .forward))
      backward = backward?.adding(globals.planner.traffic(on: globals.backward, .backward))
      let more = globals.residentBytes(gradients: backward != nil)
      resident = zip(resident, more).map { $0 + $1 }
    }
    let (needed, useful) = Self.keysOfOthers(planner)
    perRank = pairs.indices.map { rank in
      PlannedRank(
        rank: rank, tokens: problem.queries.tokenCount(of: rank),
        keyTokens: problem.keys.tokenCount(of: rank), pairs: pairs[rank],
        keysNeeded: needed[rank], keysOfUse: useful[rank], bytesSent: forward.bytesSent[rank],
        messagesSent: forward.messagesSent[rank] + (backward?.messagesSent[rank] ?? 0),
        backwardBytesSent: backward?.bytesSent[rank] ?? 0, residentBytes: resident[rank])
    }
    ranks = pairs.count
    batch = shape.batch
    tokens = problem.queries.tokens
    keyTokens = problem.keys.tokens
    queryHeads = shape.queryHeads
    kvHeads = shape.kvHeads
    headDim = shape.headDim
    valueHeadDim = shape.valueHeadDim
    layout = plan.layout
    layoutReason = plan.layoutReason
    wire = "\(problem.wire)"
    gradients = plan.backward != nil
    transport = "\(route)"
    travel = route.travelling.rawValue
    transportReason = plan.transport.reason
    backwardRoute = Nullable(value: plan.backward?.name)
    backwardRouteReason = Nullable(value: plan.backward?.reason)
    self.pairs = pairs.reduce(0, +)
    let mean = Double(self.pairs) / Double(pairs.count)
    workImbalance = mean > 0 ? Double(pairs.max() ?? 0) / mean : 1
    coverage = CoverageReport(problem)
  }

  /// For each rank, the keys of others that it sees, and those of its own that others see.
  private static func keysOfOthers(_ planner: RoutePlanner) -> (needed: [Int], useful: [Int]) {
    let shards = planner.problem.keys.shards
    // How many more each rank sees than the one before.
    var steps = [Int](repeating: 0, count: shards.count + 1)
    var useful = [Int](repeating: 0, count: shards.count)
    var own = useful
    for (owner, runs) in planner.meetings.runVisitors.enumerated() {
      for (run, visitors) in runs.enumerated() {
        let tokens = shards[owner][run].count
        var others = 0
        for range in visitors.ranges {
          steps[range.lowerBound] += tokens
          steps[range.upperBound] -= tokens
          others += range.count
          if range.contains(owner) {
            own[owner] += tokens
            others -= 1
          }
        }
        if others > 0 { useful[owner] += tokens }
      }
    }
    var sum = 0
    let needed = shards.indices.map { rank in
      sum += steps[rank]
      return sum - own[rank]
    }
    return (needed, useful)
  }
}

extension PlanReport {
  /// A picture of characters, a table with a line for each rank, and a summary.
  ///
  /// - Parameter words: what is seen, `causal, window 1024`.
  func text(_ words: String) -> String {
    ([heading(words), "", picture, "", table(rows), ""] + summary).joined(separator: "\n")
  }

  private func heading(_ words: String) -> String {
    let length =
      keyTokens == tokens
      ? counted(tokens, "token") : "\(grouped(tokens)) queries over \(grouped(keyTokens)) keys"
    return "Plan of \(words) attention: \(length) on \(counted(ranks, "rank")), nothing computed.\n"
      + "Layout \(layout): \(layoutReason).\nTransport \(transport): \(transportReason)."
      + (backwardRoute.value.map {
        "\nBackward, \($0 == "kv" ? "keys and values" : "queries") travel: "
          + "\(backwardRouteReason.value ?? "")."
      } ?? "")
  }

  private var picture: String {
    let width = coverage.ranks.map(\.count).max() ?? 1
    let signs: [Character: Character] = ["#": "■", "+": "◧", ".": "·"]
    let lines = zip(coverage.ranks, coverage.rows).map { name, row in
      String(repeating: " ", count: width - name.count) + name + "  "
        + row.map { String(signs[$0] ?? $0) }.joined(separator: " ")
    }
    return
      (["Queries of each rank, downwards, over the keys of each: ■ all seen, ◧ some, · none."]
      + lines).joined(separator: "\n")
  }

  private var rows: [[String]] {
    var header = ["rank", "tokens", "pairs", "of mean", "keys needed", "keys of use", "sends"]
    if gradients { header.append("backward") }
    header.append("memory")
    let mean = Double(pairs) / Double(ranks)
    return [header]
      + perRank.map { rank in
        var row = [
          "\(rank.rank)", grouped(rank.tokens), grouped(rank.pairs),
          mean > 0 ? fixed(Double(rank.pairs) / mean, 2) : "0", grouped(rank.keysNeeded),
          grouped(rank.keysOfUse), formatBytes(rank.bytesSent),
        ]
        if gradients { row.append(formatBytes(rank.backwardBytesSent)) }
        return row + [formatBytes(rank.residentBytes)]
      }
  }

  private var summary: [String] {
    let all = Double(tokens) * Double(keyTokens) * Double(queryHeads * batch)
    let part = all > 0 ? Double(pairs) / all : 0
    let useful = perRank.reduce(0) { $0 + $1.keysOfUse }
    return [
      "\(grouped(pairs)) pairs are seen, \(percent(part)) of all; the busiest rank has "
        + "\(fixed(workImbalance, 2)) times the mean.",
      "Of \(grouped(keyTokens)) keys \(grouped(useful)) are of use to other ranks "
        + "(keys of use); the others stay where they are. A rank sees those of others that it "
        + "needs (keys needed).",
    ]
  }
}
