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
    let choice = try planner.automatic(backward: backward, team: team, on: world)
    if !choice.estimates.isEmpty {
      self.init(cheapest: choice.estimates)
    } else if choice.route == .shared {
      self.init(.shared, reason: "all ranks share the memory of one host")
    } else {
      self.init(
        choice.route,
        // Without what to do about it, since nothing needs to be.
        reason: choice.obstacle.map { String($0.text.prefix { $0 != ":" }) }
          ?? "the host has too little shared memory")
    }
  }
}
