extension Route {
  /// Refuses ranks that the route cannot serve, and answers that make no sense together; all ranks
  /// find the same.
  ///
  /// - Parameter backward: what is asked for the backward pass; nil if there is none.
  public func check(
    ranks: Int, topology: Topology, backward: BackwardRoute? = nil
  ) throws(RouteError) {
    let grid = try grid(ranks: ranks)
    if grid.rows > 1 || grid.columns == 1 {
      // Every column passes blocks by itself, and all have to be able to.
      for column in 0..<grid.columns {
        _ = try groups(of: topology.column(column, of: grid))
      }
    } else if travelling == .queries {
      throw RouteError(
        "Where all ranks share the heads nothing travels between them; leave --travel queries "
          + "out, or choose a mesh of several rows.")
    } else if delivery != .rotating || grouping != .alone {
      throw RouteError(
        "Where all ranks share the heads nothing travels between them; leave the other transport "
          + "out, or choose a mesh of several rows.")
    }
    guard let backward else { return }
    if backward == .queries, grid.columns > 1, grid.rows == 1 {
      throw RouteError(
        "Where all ranks share the heads nothing travels in the backward pass; leave the route of "
          + "queries out, or choose another transport.")
    }
    if case .route(let own) = backward {
      guard own.heads == heads else {
        throw RouteError(
          "Heads are shared in both passes alike, and \(self) and \(own) share them differently; "
            + "give both passes the same.")
      }
      try own.check(ranks: ranks, topology: topology)
    }
  }

  /// How ranks share the heads; one column if each has all of them.
  package func grid(ranks: Int) throws(RouteError) -> HeadGrid {
    switch heads {
    case .nobody: return HeadGrid(columns: 1, rows: ranks)
    case .everybody: return HeadGrid(columns: ranks, rows: 1)
    case .grid(let columns, let rows):
      guard columns >= 1, rows >= 1, ranks % columns == 0, ranks / columns == rows else {
        let near = (1...ranks).last { ranks % $0 == 0 && $0 <= max(columns, 1) } ?? 1
        throw RouteError(
          "A mesh of \(columns)x\(rows) needs \(columns) · \(rows) ranks, and there are \(ranks); "
            + "start as many, or choose \(near)x\(ranks / near).")
      }
      return HeadGrid(columns: columns, rows: rows)
    }
  }

  /// The groups of ranks that share memory, between which blocks are delivered.
  ///
  /// - Parameter topology: of the ranks that have the same heads.
  package func groups(of topology: Topology) throws(RouteError) -> [[Int]] {
    if let obstacle = delivery.kind.obstacle(to: grouping) { throw RouteError(obstacle) }
    switch grouping {
    case .alone: return topology.nodes.flatMap { $0 }.sorted().map { [$0] }
    case .hosts: return topology.nodes
    case .all:
      guard topology.nodes.count == 1 else {
        throw RouteError(
          "The transport 'shared' needs all ranks on one host, and they are on "
            + "\(topology.nodes.count); use 'hierarchical'.")
      }
      return topology.nodes
    }
  }

  /// Whether it can compute without transfers, and transfer without computing, to be measured.
  package func hasParts(ranks: Int) -> Bool {
    ((try? grid(ranks: ranks))?.columns ?? 1) <= 1
  }
}

/// A route that cannot serve a job.
public struct RouteError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What is wrong and what to do, in one sentence.
  public let description: String

  init(_ description: String) {
    self.description = description
  }
}
