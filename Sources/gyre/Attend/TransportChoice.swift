import ArgumentParser
import Attention
import SequenceParallel

/// The names of transports on the command line.
enum TransportChoice: String, CaseIterable, ExpressibleByArgument {
  case ring, shared, hierarchical, allgather, query, heads, mesh, auto

  /// The transport, and why it is this one.
  ///
  /// - Parameter mesh: the one asked for, if any.
  func resolved(
    _ topology: Topology, mesh: Mesh?, shape: AttentionShape
  ) -> (transport: Transport, reason: String) {
    switch self {
    case .ring: (.ring, "asked for")
    case .shared: (.shared, "asked for")
    case .hierarchical: (.hierarchical, "asked for")
    case .allgather: (.allgather, "asked for")
    case .query: (.query, "asked for")
    case .heads: (.heads, "asked for")
    case .mesh: Mesh.chosen(mesh, topology, shape)
    case .auto: automatic(topology)
    }
  }

  private func automatic(_ topology: Topology) -> (transport: Transport, reason: String) {
    let hosts = topology.nodes.count
    if hosts == 1 { return (.shared, "all ranks share the memory of one host") }
    if topology.nodes.contains(where: { $0.count > 1 }) {
      return (.hierarchical, "several ranks share each of \(hosts) hosts")
    }
    return (.ring, "no two ranks share a host")
  }
}

extension Transport {
  /// Its name on the command line.
  var name: String {
    switch self {
    case .ring: TransportChoice.ring.rawValue
    case .shared: TransportChoice.shared.rawValue
    case .hierarchical: TransportChoice.hierarchical.rawValue
    case .allgather: TransportChoice.allgather.rawValue
    case .query: TransportChoice.query.rawValue
    case .heads: TransportChoice.heads.rawValue
    case .mesh(let heads, let ring):
      "\(TransportChoice.mesh.rawValue):\(Mesh(heads: heads, ring: ring))"
    }
  }
}
