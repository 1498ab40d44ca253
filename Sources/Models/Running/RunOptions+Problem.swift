import Attention
import SequenceParallel
import Sharding
import Tensors

/// What attention of a piece of a sequence is.
extension RunOptions {
  /// The problem of a layer: queries are the piece's tokens; keys are those that are kept of what
  /// comes before, as far as the piece may see them, and then its own.
  ///
  /// - Parameters:
  ///   - piece: shards of the positions from `start` on.
  ///   - kept: the runs of each rank before the piece.
  func problem(
    _ decoder: Decoder, _ layer: DecoderLayer, piece: Sharding, from start: Int,
    kept: [[PositionRange]]
  ) -> ShardedAttention {
    let lowest = width(layer).map { max(0, start - $0 + 1) } ?? 0
    let earlier = kept.map { runs in
      runs.flatMap { $0.cut(before: sinks(layer), from: lowest) }
    }
    let keys =
      earlier.allSatisfy(\.isEmpty)
      ? piece
      : Sharding(
        layout: nil, tokens: piece.tokens, shards: zip(earlier, piece.shards).map { $0 + $1 })
    return ShardedAttention(
      shape: decoder.attentionShape, queries: piece, keys: keys, pattern: pattern(layer),
      scoreRule: contextWindows?.scoreRule, scale: decoder.scale, wire: keyValueType,
      accumulation: accumulation, arithmetic: arithmetic)
  }

  /// What travels in attention of a piece: queries instead of keys, where that may be chosen and
  /// hosts then send less, since few tokens come after many.
  func route(of problem: ShardedAttention, topology: Topology) -> Route {
    let other = route.with(.queries)
    guard choosesWhatTravels, problem.keys != problem.queries, topology.nodes.count > 1,
      !chunksQueries, route.travelling == .keys, route.heads == .nobody,
      (try? other.check(ranks: problem.ranks, topology: topology, backward: nil)) != nil
    else { return route }
    let planner = RoutePlanner(problem, topology: topology)
    func most(_ route: Route) -> Double {
      planner.traffic(on: route, .forward).bytesToOtherHosts.reduce(0, max)
    }
    return most(other) < most(route) ? other : route
  }
}

extension PositionRange {
  /// What is of use of a run: its first positions below `end`, and those from `lowest` on, with up
  /// to 15 before them, so that panels of 16 stay whole.
  fileprivate func cut(before end: Int, from lowest: Int) -> [PositionRange] {
    let sinks = countBelow(end)
    let hidden = countBelow(lowest) / 16 * 16
    if hidden <= sinks { return [self] }
    return [slice(0..<sinks), slice(hidden..<count)].filter { !$0.isEmpty }
  }

  /// How many of its positions are below another.
  private func countBelow(_ position: Int) -> Int {
    Swift.min(Swift.max(0, (position - start + stride - 1) / stride), count)
  }
}
