import ArgumentParser
import Attention
import MPI
import Reporting
import SequenceParallel

/// The names of transports on the command line.
enum TransportChoice: String, CaseIterable, ExpressibleByArgument {
  case ring, shared, hierarchical, allgather, query, heads, mesh, auto

  /// The transport asked for; nil if it is to be chosen.
  ///
  /// - Parameter mesh: the one asked for, if any.
  func resolved(
    _ topology: Topology, mesh: Mesh?, shape: AttentionShape
  ) -> ChosenTransport? {
    switch self {
    case .ring: ChosenTransport(.ring)
    case .shared: ChosenTransport(.shared)
    case .hierarchical: ChosenTransport(.hierarchical)
    case .allgather: ChosenTransport(.allgather)
    case .query: ChosenTransport(.query)
    case .heads: ChosenTransport(.heads)
    case .mesh: Mesh.chosen(mesh, topology, shape)
    case .auto: nil
    }
  }
}

/// A transport, and why it is this one.
struct ChosenTransport {
  let transport: Transport
  let reason: String

  init(_ transport: Transport, reason: String = "asked for") {
    self.transport = transport
    self.reason = reason
  }

  /// The first of some estimates.
  init(cheapest estimates: [TransportEstimate]) {
    transport = estimates[0].transport
    reason =
      "estimates: "
      + estimates.map { "\($0.transport.name) \(formatSeconds($0.seconds))" }
      .joined(separator: ", ")
  }

  /// The one that should take least time of those that there is room for, called by all ranks together.
  init(
    cheapestFor attention: ShardedAttention, _ topology: Topology, gradients: Bool, threads: Int,
    on world: borrowing Communicator
  ) throws {
    let node = try world.splitByNode()
    let needed =
      attention.residentBytes(rank: world.rank, transport: .hierarchical, gradients: gradients)
      * Double(node.size)
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
      shape: attention.shape, team: ThreadTeam(threads: threads), topology: topology, on: world)
    let estimates = Transport.cheapest(
      for: attention, topology: topology, gradients: gradients, speeds: speeds)
    self.init(cheapest: estimates.filter { hasRoom || $0.transport != .hierarchical })
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
