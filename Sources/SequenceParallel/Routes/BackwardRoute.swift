import Attention

/// What travels in the backward pass.
///
/// Bytes of a token and hop, of the wire type's width `w` (with two scales more for int8): keys and
/// values take `kvHeads · (headDim + valueHeadDim) · w` and their gradients
/// `kvHeads · (headDim + valueHeadDim) · 4`; queries, gradients of outputs and three numbers a row
/// `queryHeads · (headDim + valueHeadDim + 3) · 4` and their gradients `queryHeads · headDim · 4`. So
/// queries are less where every query head has its own keys in single precision, and keys where
/// query heads share them.
public enum BackwardRoute: Hashable, Sendable {
  /// Keys and values, and their gradients after them.
  case keys
  /// Queries with all that their gradients need, and those after them.
  case queries
  /// Whichever is fewer bytes.
  case automatic
}

/// What travels in the backward pass, and why.
public struct BackwardDecision: Hashable, Sendable {
  /// Not `automatic`.
  public let route: BackwardRoute
  /// Why, in a few words.
  public let reason: String
}

extension ShardedAttention {
  /// Decides what travels in the backward pass; every rank finds the same.
  ///
  /// The bytes are those that all ranks together would send, without what a mask saves. Where nothing
  /// is sent, as in shared memory, keys travel.
  ///
  /// - Parameters:
  ///   - route: what is asked for.
  ///   - topology: that of ``Transport/hierarchical``; others need none.
  /// - Complexity: O(P²) questions about shards.
  public func backwardDecision(
    _ route: BackwardRoute, transport: Transport, topology: Topology
  ) -> BackwardDecision {
    if route != .automatic { return BackwardDecision(route: route, reason: "asked for") }
    if transport == .query {
      return BackwardDecision(route: .queries, reason: "as in the forward pass")
    }
    if let grid = grid(of: transport), grid.columns > 1 {
      return BackwardDecision(route: .keys, reason: "ranks share the heads")
    }
    guard transport != .shared, let groups = try? transport.groups(topology, ranks: ranks) else {
      return BackwardDecision(route: .keys, reason: "nothing is sent")
    }
    let keys = travellingKeys(.backward).bytesSent(by: transport, groups: groups)
    let queries = travellingQueries(.backward).bytesSent(by: transport, groups: groups)
    if max(keys, queries) == 0 {
      return BackwardDecision(route: .keys, reason: "nothing is sent")
    }
    return keys <= queries
      ? BackwardDecision(route: .keys, reason: "\(keys) bytes, not \(queries)")
      : BackwardDecision(route: .queries, reason: "\(queries) bytes, not \(keys)")
  }
}
