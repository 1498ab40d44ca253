public import Attention
public import MPI

/// A route that nobody has named, and what it was chosen by.
public struct AutomaticRoute: Sendable {
  /// Of the forward pass.
  public let route: Route
  /// The routes that were compared, this one first; empty where all ranks share a host.
  public let estimates: [RouteEstimate]
  /// What keeps ranks of a host from sharing memory; nil where nothing does, or room alone.
  public let obstacle: MPIError?
}

extension RoutePlanner {
  /// The route that should take least time of those that there is room for, called by all ranks
  /// together.
  ///
  /// On one host that is shared memory, where there is room for it.
  ///
  /// - Parameters:
  ///   - backward: what is asked of the backward pass; nil if there is none.
  ///   - team: what computes, which is measured where there are several hosts.
  public func automatic(
    backward: BackwardRoute?, team: ThreadTeam, on world: borrowing Communicator
  ) throws -> AutomaticRoute {
    let node = try world.splitByNode()
    let needed =
      residentBytes(
        on: .hierarchical,
        backward: backward.map { backwardDecision($0, after: .hierarchical).route })[world.rank]
      * Double(node.size)
    let fits = try needed <= Double(SharedWindow.freeBytes(on: node))
    let obstacle = node.size == 1 ? nil : try SharedWindow.obstacle(on: node)
    let hasRoom = try world.allReduce(fits && obstacle == nil ? 1 : 0, with: .min) == 1
    if topology.nodes.count == 1 {
      return AutomaticRoute(route: hasRoom ? .shared : .ring, estimates: [], obstacle: obstacle)
    }
    let speeds = try MeasuredSpeeds(
      shape: problem.shape, team: team, topology: topology, on: world)
    let estimates = cheapest(backward: backward, speeds: speeds)
      .filter { hasRoom || $0.route.grouping == .alone }
    return AutomaticRoute(route: estimates[0].route, estimates: estimates, obstacle: obstacle)
  }
}
