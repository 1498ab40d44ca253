import Attention
import ScalingModel
import SequenceParallel
import Sharding
import Tensors

/// Attention that is computed in parts, and what ranks hold and do beside the passes.
extension PredictCommand {
  /// Predicts a pass of dense attention with all that there is of it: groups of keys for xPos, rows
  /// of global tokens apart, sinks of a cache, tensors of biases and labels.
  func predict(
    _ problem: DenseProblem, ranks: Int, route: Route, _ pass: AttentionPass,
    on cluster: Cluster, progress: (_ share: Double) -> Void
  ) -> Prediction {
    let parts = parts(of: problem, ranks: ranks, route)
    let predictions = parts.enumerated().map { index, part in
      var own = cluster
      // Rows are turned once; for each group of xPos queries are multiplied, which takes as long.
      if index > 0, !position.xpos { own.turningSeconds = 0 }
      let prediction = own.predict(
        problem.of(part.part), ranks: ranks, route: part.route, pass: pass
      ) { progress((Double(index) + $0) / Double(parts.count)) }
      return (prediction: prediction, times: part.times)
    }
    let beside = beside(problem, ranks: ranks, route, pass, cluster)
    let sum = predictions.count == 1 ? predictions[0].prediction : Prediction.sum(of: predictions)
    // Either part has blocks of its own.
    let memory = globalProjections ? predictions.dropFirst().map(\.prediction.residentBytes) : []
    return sum.adding(
      seconds: beside.seconds, bytesSent: beside.bytesSent,
      residentBytes: beside.memory + memory.reduce(0, +))
  }

  /// What is computed one after the other: which part, on which route, and how many there are like
  /// it.
  private func parts(
    of problem: DenseProblem, ranks: Int, _ route: Route
  ) -> [(part: DenseProblem.Part, route: Route, times: Double)] {
    if globalProjections, let globals = masks.window.globals {
      let queries = globals.queries(of: problem.tokens, offset: 0)
      let planner = RoutePlanner(
        problem.of(.queries(queries.global)).sharded(ranks: ranks),
        topology: Topology(ranks: ranks, ranksPerNode: ranksPerHost))
      let own = GlobalProjections.route(of: planner, after: route)
      return [(.queries(queries.others), route, 1), (.queries(queries.global), own, 1)]
    }
    let length = XPosAttention.groupLength(of: problem.wire)
    let groups = (problem.tokens + length - 1) / length
    guard position.xpos, groups > 1 else { return [(.all, route, 1)] }
    // Some of many stand for all.
    let shown = min(groups, Self.mostGroups)
    return (0..<shown).map { index in
      let group = (2 * index + 1) * groups / (2 * shown)
      let keys = group * length..<min((group + 1) * length, problem.tokens)
      return (.keys(keys), route, Double(groups) / Double(shown))
    }
  }

  /// Groups of xPos that are predicted by themselves.
  private static var mostGroups: Int { 6 }

  /// What a rank does, sends and holds beside its passes.
  private func beside(
    _ problem: DenseProblem, ranks: Int, _ route: Route, _ pass: AttentionPass, _ cluster: Cluster
  ) -> (seconds: Double, bytesSent: Double, memory: Double) {
    let sharded = problem.sharded(ranks: ranks)
    var (seconds, bytesSent, memory) = (0.0, 0.0, 0.0)
    if position.positionIds { memory += 8 * Double(problem.tokens) }
    let isApart = position.xpos || position.sinkPositions == .cache
    if isApart { memory += 2 * sharded.leastBytes(rank: 0) }
    let backward = pass == .backward
    let planner = RoutePlanner(
      sharded, topology: Topology(ranks: ranks, ranksPerNode: ranksPerHost))
    let travelling =
      backward ? planner.backwardDecision(.automatic, after: route).travelling : route.travelling
    if position.sinkPositions == .cache, !position.xpos, let sinks = masks.window.sinks {
      // Keys and values of sinks are added up on all ranks, gradients on their owners.
      let columns = shape.headDim + shape.valueHeadDim
      let bytes = 4 * Double(sinks * shape.kvHeads * columns)
      let turns = Double((ranks - 1).bitWidth - (ranks - 1).leadingZeroBitCount)
      seconds += 2 * turns * (cluster.network.latency + bytes / cluster.network.bytesPerSecond)
      bytesSent += 2 * turns * bytes
    }
    if scoreRule.bias,
      let extent = try? sharded.biasExtent(rank: 0, route: route, travelling: travelling)
    {
      memory += extent.byteCount(
        of: [1, shape.queryHeads, problem.tokens, problem.tokens], batch: 1,
        collectsGradients: backward)
    }
    if let radius = masks.window.etcRadius {
      let labels = RelativeLabels(
        distance: masks.window.etcDistance ?? 12, globals: masks.window.globals?.tokens ?? [],
        offset: 0, keyTokens: problem.tokens)
      let extents = Set([0, ranks / 2, ranks - 1]).compactMap {
        try? sharded.labelExtent(
          rank: $0, route: route, travelling: travelling, labels, radius: radius)
      }
      memory += extents.reduce(0) {
        max(
          $0,
          $1.byteCount(
            labels, radius: min(radius, problem.tokens), batch: 1, keyTokens: problem.tokens,
            collectsGradients: backward))
      }
      let queries = Double(problem.tokens) / Double(ranks * cluster.threads)
      seconds +=
        queries * Double(shape.queryHeads * labels.count * shape.headDim) / Self.labelProducts
    }
    return (seconds, bytesSent, memory)
  }

  /// Multiply–adds of a second by which a thread finds terms of labels, on a Zen 4 core.
  private static var labelProducts: Double { 1e9 }

  static var labelGuess: String {
    "a thread finds terms of labels by 1 G multiply–adds a second"
  }

  /// What of scores makes kernels slower.
  var scoreRuleKinds: ScoreRuleKinds {
    var kinds = ScoreRuleKinds(scoreRule)
    if masks.window.etcRadius != nil { kinds.others.append("--etc-radius") }
    return kinds
  }
}
