/// How blocks get to the ranks that have work to do on them.
public enum Transport: Hashable, Sendable {
  /// From each rank to the next, P − 1 hops.
  case ring
  /// Ranks of one node read each other's blocks in shared memory.
  case shared
  /// Shared memory inside a node, a ring between nodes: a block crosses each link once a node.
  case hierarchical
  /// From each rank to all at once: few steps, and memory for all blocks.
  case allgather
  /// Queries go from each rank to the one before, and outputs after them; keys and values stay. For
  /// few queries against many keys.
  case query
}

extension Transport {
  /// The groups of ranks that share memory, round which blocks pass.
  func groups(_ topology: Topology, ranks: Int) throws(TransportError) -> [[Int]] {
    switch self {
    case .ring, .allgather, .query: return (0..<ranks).map { [$0] }
    case .hierarchical: return topology.nodes
    case .shared:
      guard topology.nodes.count == 1 else {
        throw TransportError(
          "The transport 'shared' needs all ranks on one host, and they are on "
            + "\(topology.nodes.count); use 'hierarchical'.")
      }
      return topology.nodes
    }
  }
}

/// A transport that cannot serve a job.
public struct TransportError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What is wrong and what to do, in one sentence.
  public let description: String

  init(_ description: String) {
    self.description = description
  }
}
