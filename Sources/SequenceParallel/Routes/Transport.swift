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
  /// Each rank computes some heads for the tokens of all, as in DeepSpeed-Ulysses: a `mesh` of one
  /// row.
  case heads
  /// Each of `heads` neighbouring ranks computes some heads for the tokens of all of them; blocks of
  /// its heads go round a ring of `ring` such groups, as in USP. There are `heads · ring` ranks.
  case mesh(heads: Int, ring: Int)
}

extension Transport {
  /// Refuses ranks that the transport cannot serve, and routes that it does not have; all ranks find
  /// the same.
  public func check(
    ranks: Int, topology: Topology, backwardRoute: BackwardRoute = .automatic
  ) throws(TransportError) {
    _ = try groups(topology, ranks: ranks)
    if let grid = try grid(ranks: ranks), grid.columns > 1, backwardRoute == .queries {
      throw TransportError(
        "Where ranks share heads, keys travel in the backward pass; leave the route of queries out, "
          + "or choose another transport.")
    }
  }

  /// Whether it can compute without transfers, and transfer without computing, to be measured.
  public func hasParts(ranks: Int) -> Bool {
    ((try? grid(ranks: ranks))?.columns ?? 1) <= 1
  }

  /// How ranks share the heads; nil if each has all of them.
  func grid(ranks: Int) throws(TransportError) -> HeadGrid? {
    switch self {
    case .ring, .shared, .hierarchical, .allgather, .query: return nil
    case .heads: return HeadGrid(columns: ranks, rows: 1)
    case .mesh(let heads, let ring):
      guard heads >= 1, ring >= 1, ranks % heads == 0, ranks / heads == ring else {
        let near = (1...ranks).last { ranks % $0 == 0 && $0 <= max(heads, 1) } ?? 1
        throw TransportError(
          "A mesh of \(heads)x\(ring) needs \(heads) · \(ring) ranks, and there are \(ranks); "
            + "start as many, or choose \(near)x\(ranks / near).")
      }
      return HeadGrid(columns: heads, rows: ring)
    }
  }

  /// The groups of ranks that share memory, round which blocks pass.
  func groups(_ topology: Topology, ranks: Int) throws(TransportError) -> [[Int]] {
    switch self {
    case .ring, .allgather, .query, .heads, .mesh: return (0..<ranks).map { [$0] }
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
