import Attention
import Sharding

/// What a transport is expected to take, as far as flops, bytes and steps tell.
public struct TransportEstimate: Hashable, Sendable {
  /// Which one.
  public let transport: Transport
  /// Of all passes.
  public let seconds: Double
}

extension Transport {
  /// Blocks of all ranks together that `allgather` may hold on one.
  private static let gatheredBytes = 64 << 20

  /// The transports that a problem can use, the cheapest first; every rank finds the same.
  ///
  /// Where all ranks share a host nothing needs to be sent, and that is `shared`. Elsewhere a transport
  /// takes as long as the rank with most pairs computes or the host that sends most bytes to others
  /// sends, whichever is longer, since one hides behind the other; for `heads`, whose exchanges are
  /// waited for, both; and a latency each step. Where others are not at least a twentieth faster, blocks
  /// travel between hosts once. A mesh is not proposed.
  ///
  /// - Parameters:
  ///   - gradients: whether a backward pass follows.
  ///   - speeds: of ranks and of links between hosts.
  /// - Complexity: O(P²) questions about shards.
  public static func cheapest(
    for problem: ShardedAttention, topology: Topology, gradients: Bool, speeds: MeasuredSpeeds
  ) -> [TransportEstimate] {
    var candidates: [Transport] = [.shared]
    if topology.nodes.count > 1 {
      candidates = topology.nodes.contains { $0.count > 1 } ? [.hierarchical, .ring] : [.ring]
      candidates.append(.query)
      if problem.blockBytes.reduce(0, +) <= gatheredBytes { candidates.append(.allgather) }
      if problem.shape.queryHeads >= problem.ranks { candidates.append(.heads) }
    }
    var estimates: [TransportEstimate] = []
    for transport in candidates {
      let estimate = problem.estimate(transport, topology, gradients: gradients, speeds)
      let isFirst = estimates.first.map { estimate.seconds < $0.seconds * 0.95 } ?? true
      estimates.insert(estimate, at: isFirst ? 0 : estimates.count)
    }
    return estimates
  }
}

extension ShardedAttention {
  fileprivate func estimate(
    _ transport: Transport, _ topology: Topology, gradients: Bool, _ speeds: MeasuredSpeeds
  ) -> TransportEstimate {
    let pairs = (0..<ranks).map { computedPairs(rank: $0, transport: transport) }.max() ?? 0
    var seconds = 0.0
    for pass in gradients ? [AttentionPass.forward, .backward] : [.forward] {
      let flops = pass == .forward ? shape.forwardFlopsPerPair : shape.backwardFlopsPerPair
      let computing = Double(pairs) * Double(flops) / speeds.flopsPerSecond
      let sending =
        Double(networkBytes(transport, topology, pass).max() ?? 0) / speeds.bytesPerSecond
      seconds += transport == .heads ? computing + sending : max(computing, sending)
      seconds += Double(steps(of: transport, topology)) * speeds.latency
    }
    return TransportEstimate(transport: transport, seconds: seconds)
  }

  /// Messages that have to follow one another.
  private func steps(of transport: Transport, _ topology: Topology) -> Int {
    switch transport {
    case .shared: 0
    case .allgather: 1
    case .heads: 2
    case .hierarchical: topology.nodes.count - 1
    case .ring, .query, .mesh: ranks - 1
    }
  }

  /// For each host, the bytes that its ranks send to other hosts in a pass.
  private func networkBytes(
    _ transport: Transport, _ topology: Topology, _ pass: AttentionPass
  ) -> [Int] {
    topology.nodes.map { node in
      let members = Set(node)
      return node.reduce(0) { sum, rank in
        switch transport {
        case .shared: sum
        case .heads, .mesh:
          // Each rank has as much for every other.
          sum
            + (grid(of: transport).map { bytesSent(by: rank, on: $0, backward: pass == .backward) }
              ?? 0) * (ranks - node.count) / max(1, ranks - 1)
        case .allgather:
          sum
            + (0..<ranks).filter { !members.contains($0) && sees(rank: $0, owner: rank) }.count
            * travelling(transport, topology, pass).sizes[rank]
        case .ring, .query, .hierarchical:
          sum + neighbourBytes(rank, transport, topology, pass, members)
        }
      }
    }
  }

  /// What a rank hands on, if it goes to another host.
  private func neighbourBytes(
    _ rank: Int, _ transport: Transport, _ topology: Topology, _ pass: AttentionPass,
    _ members: Set<Int>
  ) -> Int {
    let groups = transport == .hierarchical ? topology.nodes : (0..<ranks).map { [$0] }
    let blocks = travelling(transport, topology, pass)
    let schedule = blocks.schedule(groups)
    let next = schedule.carrier(group: schedule.places[rank].group + 1, slot: 0)
    return members.contains(next)
      ? 0 : schedule.bytesSent(by: rank, blocks: blocks.sizes, results: blocks.results)
  }

  private func travelling(
    _ transport: Transport, _ topology: Topology, _ pass: AttentionPass
  ) -> TravellingBlocks {
    let sendsQueries =
      pass == .forward
      ? transport == .query
      : backwardDecision(.automatic, transport: transport, topology: topology).route == .queries
    return sendsQueries ? travellingQueries(pass) : travellingKeys(pass)
  }
}
