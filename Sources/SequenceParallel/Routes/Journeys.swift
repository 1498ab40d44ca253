package import Attention

/// How far each part of each block is sent round the ring of a route: what a prediction steps.
package struct Journeys: Sendable {
  /// The ranks of each group, in the order in which blocks pass by them; where ranks share heads,
  /// the rows of the first column.
  package let groups: [[Int]]
  /// For each owner, tokens that are sent so many groups on.
  package let parts: [[(tokens: Int, hops: Int)]]
}

extension RoutePlanner {
  /// How far blocks go in a pass.
  ///
  /// - Precondition: blocks rotate on the route, which can serve these ranks.
  /// - Complexity: O(runs).
  package func journeys(on route: Route, _ pass: AttentionPass) -> Journeys {
    guard let grid = try? route.grid(ranks: problem.ranks) else {
      preconditionFailure("\(route) cannot serve \(problem.ranks) ranks")
    }
    if grid.columns > 1, let column = columns(of: grid).first(where: { $0.columns.contains(0) }) {
      var inner = route
      inner.heads = .nobody
      return column.planner.journeys(on: inner, pass)
    }
    guard let groups = try? route.groups(of: topology) else {
      preconditionFailure("\(route) cannot serve these hosts")
    }
    let blocks = blocks(route.travelling, pass)
    let schedule = blocks.schedule(groups)
    return Journeys(
      groups: schedule.groups,
      parts: schedule.parcels.enumerated().map { owner, parcels in
        parcels.indices.map { index in
          (
            tokens: blocks.tokens(of: owner, parcels, index..<index + 1),
            hops: parcels[index].hops
          )
        }
      })
  }
}
