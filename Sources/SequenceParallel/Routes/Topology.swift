public import MPI

/// Which ranks can read each other's memory.
public struct Topology: Hashable, Sendable {
  /// The ranks of each node, ascending; nodes by their lowest rank.
  public let nodes: [[Int]]

  /// Finds out, called by all ranks together.
  public init(of world: borrowing Communicator) throws(MPIError) {
    let node = try world.splitByNode()
    let lowest = try node.allReduce(world.rank, with: .min)
    self.init(hosts: try world.allGather([lowest]).map { $0[0] })
  }

  /// Takes every `ranksPerNode` neighbouring ranks for a node, to try on one machine what will run
  /// on many.
  ///
  /// - Precondition: such ranks can share memory.
  public init(ranks: Int, ranksPerNode: Int) {
    precondition(ranksPerNode > 0, "a node has a rank")
    self.init(hosts: (0..<ranks).map { $0 / ranksPerNode })
  }

  /// Puts ranks on hosts.
  ///
  /// - Parameter hosts: for each rank, a number that only the ranks of its host have.
  package init(hosts: [Int]) {
    nodes = Dictionary(grouping: hosts.indices) { hosts[$0] }.values.sorted { $0[0] < $1[0] }
  }

  /// For each rank, the index of its node.
  package var hosts: [Int] {
    var hosts = [Int](repeating: 0, count: nodes.reduce(0) { $0 + $1.count })
    for (index, ranks) in nodes.enumerated() {
      for rank in ranks { hosts[rank] = index }
    }
    return hosts
  }

  /// That of the ranks of a column, numbered by their rows.
  package func column(_ column: Int, of grid: HeadGrid) -> Topology {
    if grid.columns == 1 { return self }
    let hosts = hosts
    return Topology(hosts: (0..<grid.rows).map { hosts[$0 * grid.columns + column] })
  }
}
