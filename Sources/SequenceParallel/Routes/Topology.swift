public import MPI

/// Which ranks can read each other's memory.
public struct Topology: Hashable, Sendable {
  /// The ranks of each node, ascending; nodes by their lowest rank.
  public let nodes: [[Int]]

  /// Finds out, called by all ranks together.
  public init(of world: borrowing Communicator) throws(MPIError) {
    let node = try world.splitByNode()
    let lowest = try node.allReduce(world.rank, with: .min)
    let lowestOfAll = try world.allGather([lowest]).map { $0[0] }
    nodes = Dictionary(grouping: lowestOfAll.indices) { lowestOfAll[$0] }
      .sorted { $0.key < $1.key }.map(\.value)
  }

  /// Takes every `ranksPerNode` neighbouring ranks for a node, to try on one machine what will run
  /// on many.
  ///
  /// - Precondition: such ranks can share memory.
  public init(ranks: Int, ranksPerNode: Int) {
    precondition(ranksPerNode > 0, "a node has a rank")
    nodes = stride(from: 0, to: ranks, by: ranksPerNode).map {
      Array($0..<min($0 + ranksPerNode, ranks))
    }
  }
}
