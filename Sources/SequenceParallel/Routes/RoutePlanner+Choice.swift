import Attention
import Sharding
import Tensors

/// What a route is expected to take, as far as flops, bytes and steps tell.
public struct RouteEstimate: Hashable, Sendable {
  /// Of the forward pass.
  public let route: Route
  /// Of all passes.
  public let seconds: Double
}

extension RoutePlanner {
  /// Blocks of all ranks together that `allgather` may hold on one.
  private static let gatheredBytes = Double(64 << 20)

  /// The routes that a problem can use, the cheapest first; every rank finds the same.
  ///
  /// Where all ranks share a host nothing needs to be sent, and that is `shared`. Elsewhere a route
  /// takes as long as the rank with most pairs computes or the host that sends most bytes to others
  /// sends, whichever is longer, since one hides behind the other; exchanges of heads are waited
  /// for besides; and a latency each step. Where others are not at least a twentieth faster, blocks
  /// travel between hosts once. A mesh is not proposed.
  ///
  /// - Parameters:
  ///   - backward: what is asked for the backward pass; nil if there is none.
  ///   - speeds: of ranks and of links between hosts.
  /// - Complexity: O(P) for each route.
  public func cheapest(backward: BackwardRoute?, speeds: MeasuredSpeeds) -> [RouteEstimate] {
    var candidates: [Route] = [.shared]
    if topology.nodes.count > 1 {
      candidates = [.ring, .query]
      if topology.nodes.contains(where: { $0.count > 1 }) {
        candidates = [.hierarchical] + candidates + [Route.hierarchical.with(.queries)]
      }
      let blocks = blocks(.keys, .forward)
      let bytes = blocks.tokens.reduce(0.0) { $0 + Double($1) } * Double(blocks.bytes.block)
      if bytes <= Self.gatheredBytes { candidates.append(.allgather) }
      if problem.shape.queryHeads >= problem.ranks { candidates.append(.heads) }
    }
    let pairs = estimatedPairs
    var estimates: [RouteEstimate] = []
    for route in candidates
    where (try? route.check(ranks: problem.ranks, topology: topology, backward: backward)) != nil {
      let estimate = estimate(route, backward, pairs: pairs, speeds)
      let isFirst = estimates.first.map { estimate.seconds < $0.seconds * 0.95 } ?? true
      estimates.insert(estimate, at: isFirst ? 0 : estimates.count)
    }
    return estimates
  }

  private func estimate(
    _ route: Route, _ backward: BackwardRoute?, pairs: [Double], _ speeds: MeasuredSpeeds
  ) -> RouteEstimate {
    let shape = problem.shape
    let pairs = mostPairs(on: route, pairs)
    func seconds(_ route: Route, _ pass: AttentionPass, flops: Int) -> Double {
      let traffic = traffic(on: route, pass)
      let computing = pairs * Double(flops) / speeds.flopsPerSecond
      func sending(_ bytes: (_ rank: Int) -> Double) -> Double {
        let ofHosts = topology.nodes.map { ranks in ranks.reduce(0) { $0 + bytes($1) } }
        return (ofHosts.max() ?? 0) / speeds.bytesPerSecond
      }
      let exchanging = sending { traffic.exchangedToOtherHosts[$0] }
      let passing = sending {
        traffic.bytesToOtherHosts[$0] - traffic.exchangedToOtherHosts[$0]
      }
      return max(computing, passing) + exchanging + Double(traffic.steps) * speeds.latency
    }
    var sum = seconds(route, .forward, flops: shape.forwardFlopsPerPair)
    if let backward {
      sum += seconds(
        backwardDecision(backward, after: route).route, .backward,
        flops: shape.backwardFlopsPerPair)
    }
    return RouteEstimate(route: route, seconds: sum)
  }

  /// The pairs of the rank that computes most, over all its heads and sequences.
  private func mostPairs(on route: Route, _ pairs: [Double]) -> Double {
    let batch = Double(problem.shape.batch)
    guard let grid = try? route.grid(ranks: problem.ranks), grid.columns > 1 else {
      return (pairs.max() ?? 0) * batch * Double(problem.shape.queryHeads)
    }
    let rows = (0..<grid.rows).map { row in
      grid.members(ofRow: row).reduce(0) { $0 + pairs[$1] }
    }
    let heads = grid.shares(of: problem.shape).map(\.queryHeads.count).max() ?? 0
    return (rows.max() ?? 0) * batch * Double(heads)
  }

  /// For each rank, about how many pairs its queries see, of one head of one sequence.
  ///
  /// - Complexity: some hundred questions to the pattern for each run of a shard.
  var estimatedPairs: [Double] {
    let all = PositionRange(0..<problem.keys.tokens)
    return problem.queries.shards.map { runs in
      // Runs may be parts of one that was cut.
      let finest = max(1, (runs.map(\.span).max() ?? 0) / 16)
      return runs.reduce(0) { sum, queries in
        sum + problem.pattern.estimatedPairs(keys: all, queries: queries, finest: finest)
      }
    }
  }
}

extension AttentionPattern {
  /// About how many pairs of a rectangle are visible: where an edge goes through one whose sides
  /// are as short as `finest`, half of it.
  fileprivate func estimatedPairs(
    keys: PositionRange, queries: PositionRange, finest: Int
  ) -> Double {
    let coverage = coverage(keys: keys, queries: queries)
    if coverage == .none { return 0 }
    let pairs = Double(keys.count) * Double(queries.count)
    if coverage == .all { return pairs }
    if max(keys.span, queries.span) <= finest || keys.count == 1 && queries.count == 1 {
      return pairs / 2
    }
    if keys.span >= queries.span && keys.count > 1 || queries.count == 1 {
      let half = keys.count / 2
      return estimatedPairs(keys: keys.slice(0..<half), queries: queries, finest: finest)
        + estimatedPairs(keys: keys.slice(half..<keys.count), queries: queries, finest: finest)
    }
    let half = queries.count / 2
    return estimatedPairs(keys: keys, queries: queries.slice(0..<half), finest: finest)
      + estimatedPairs(
        keys: keys, queries: queries.slice(half..<queries.count), finest: finest)
  }
}

extension PositionRange {
  /// Positions from the first to the last.
  fileprivate var span: Int { isEmpty ? 0 : (count - 1) * stride + 1 }
}
