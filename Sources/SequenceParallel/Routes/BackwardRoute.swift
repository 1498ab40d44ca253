import Attention

/// What is asked of the backward pass: the forward pass's way, with keys or queries on it, or a
/// route of its own.
public enum BackwardRoute: Hashable, Sendable {
  /// Keys and values, and their gradients after them.
  case keys
  /// Queries with all that their gradients need, and those after them.
  case queries
  /// Whichever is fewer bytes.
  case automatic
  /// Another route; it shares heads as the forward pass does.
  case route(Route)
}

/// What travels where in the backward pass, and why.
public struct BackwardDecision: Hashable, Sendable {
  /// Of the backward pass.
  public let route: Route
  /// Why, in a few words.
  public let reason: String

  /// What travels.
  public var travelling: Travelling { route.travelling }
}

extension RoutePlanner {
  /// Decides what travels in the backward pass; every rank finds the same.
  ///
  /// The bytes are those that all ranks together would send, without what a mask saves. Where
  /// nothing is sent, as in shared memory, keys travel. Queries are less where every query head has
  /// its own keys in single precision, and keys where query heads share them (`TravellingBytes`).
  ///
  /// - Parameters:
  ///   - asked: what is asked for.
  ///   - forward: the route of the forward pass, which can serve these ranks.
  /// - Complexity: O(P).
  public func backwardDecision(_ asked: BackwardRoute, after forward: Route) -> BackwardDecision {
    func keys(_ reason: String) -> BackwardDecision {
      BackwardDecision(route: forward.with(.keys), reason: reason)
    }
    switch asked {
    case .keys: return keys("asked for")
    case .queries: return BackwardDecision(route: forward.with(.queries), reason: "asked for")
    case .route(let route): return BackwardDecision(route: route, reason: "asked for")
    case .automatic: break
    }
    if forward.travelling == .queries {
      return BackwardDecision(route: forward, reason: "as in the forward pass")
    }
    guard let grid = try? forward.grid(ranks: problem.ranks) else { return keys("nothing is sent") }
    if grid.columns > 1, grid.rows == 1 { return keys("ranks share the heads") }
    let ofKeys = traffic(on: forward, .backward).bytesSentByAll
    let ofQueries = traffic(on: forward.with(.queries), .backward).bytesSentByAll
    if max(ofKeys, ofQueries) == 0 { return keys("nothing is sent") }
    let (bytes, others) = (Int(exactly: ofKeys) ?? .max, Int(exactly: ofQueries) ?? .max)
    return ofKeys <= ofQueries
      ? keys("\(bytes) bytes, not \(others)")
      : BackwardDecision(
        route: forward.with(.queries), reason: "\(others) bytes, not \(bytes)")
  }
}
