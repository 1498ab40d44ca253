import Attention
import MPI
import Reporting
import SequenceParallel

/// A route, and why it is this one.
struct ChosenTransport {
  let route: Route
  let reason: String

  init(_ route: Route, reason: String = "asked for") {
    self.route = route
    self.reason = reason
  }

  /// The first of some estimates.
  init(cheapest estimates: [RouteEstimate]) {
    self.init(
      estimates[0].route,
      reason: "estimates: "
        + estimates.map { "\($0.route) \(formatSeconds($0.seconds))" }.joined(separator: ", "))
  }

  /// The one that should take least time of those that there is room for, called by all ranks
  /// together.
  ///
  /// - Parameter backward: what is asked of the backward pass; nil if there is none.
  init(
    cheapestBy planner: RoutePlanner, backward: BackwardRoute?, team: ThreadTeam,
    on world: borrowing Communicator
  ) throws {
    let topology = planner.topology
    let node = try world.splitByNode()
    let needed =
      planner.residentBytes(
        on: .hierarchical,
        backward: backward.map { planner.backwardDecision($0, after: .hierarchical).route })[
        world.rank] * Double(node.size)
    let fits = try needed <= Double(SharedWindow.freeBytes(on: node))
    let obstacle = node.size == 1 ? nil : try SharedWindow.obstacle(on: node)
    let hasRoom = try world.allReduce(fits && obstacle == nil ? 1 : 0, with: .min) == 1
    if topology.nodes.count == 1 {
      self =
        hasRoom
        ? ChosenTransport(.shared, reason: "all ranks share the memory of one host")
        : ChosenTransport(
          .ring,
          // Without what to do about it, since nothing needs to be.
          reason: obstacle.map { String($0.text.prefix { $0 != ":" }) }
            ?? "the host has too little shared memory")
      return
    }
    let speeds = try MeasuredSpeeds(
      shape: planner.problem.shape, team: team, topology: topology, on: world)
    let estimates = planner.cheapest(backward: backward, speeds: speeds)
    self.init(cheapest: estimates.filter { hasRoom || $0.route.grouping == .alone })
  }
}
