import Glibc
package import MPI

/// Messages of one size among ranks, sent as streams and exchanges send theirs, to measure links.
package final class LinkTrial {
  /// Who sends to whom.
  package enum Pattern: Hashable, Sendable {
    /// Rank 0 to rank 1, and then back.
    case pingPong
    /// Each rank to the next, all at once.
    case shift
    /// Each rank to all others, all at once.
    case exchange
  }

  /// How a rank waits.
  package enum Waiting: Hashable, Sendable {
    /// As a stream does, which looks as fast as it can at first.
    case polling
    /// Asleep for 50 µs between looks, so that processor time is that of the transfers and not of
    /// waiting for them; a rank that computes looks less often, every 200 µs.
    case napping
  }

  private let pattern: Pattern
  private let wire: MPIWire
  private let outgoing: Piece
  private let incoming: [Piece]

  /// Makes the memory, called by all ranks of the communicator together: that of one message to
  /// send, and of one from each other rank.
  package init(
    _ pattern: Pattern, byteCount: Int, on communicator: borrowing Communicator
  ) throws(MPIError) {
    self.pattern = pattern
    wire = try MPIWire(duplicating: communicator)
    outgoing = StreamMemory.pieces(sizes: [byteCount])[0]
    incoming = StreamMemory.pieces(
      sizes: [Int](
        repeating: byteCount, count: pattern == .exchange ? max(1, communicator.size - 1) : 1))
  }

  /// Sends and receives once, called by all ranks together.
  package func run(_ waiting: Waiting = .polling) throws(MPIError) {
    let (rank, size) = (wire.rank, wire.size)
    switch pattern {
    case .pingPong:
      try move(to: rank == 0 ? [1] : [], from: rank == 1 ? [0] : [], waiting)
      try move(to: rank == 1 ? [0] : [], from: rank == 0 ? [1] : [], waiting)
    case .shift:
      try move(to: [(rank + 1) % size], from: [(rank + size - 1) % size], waiting)
    case .exchange:
      let others = (0..<size).filter { $0 != rank }
      try move(to: others, from: others, waiting)
    }
  }

  private func move(
    to receivers: [Int], from senders: [Int], _ waiting: Waiting
  ) throws(MPIError) {
    var sent = [Piece](repeating: .nothing, count: wire.size)
    var received = sent
    for rank in receivers { sent[rank] = outgoing }
    for (rank, piece) in zip(senders, incoming) { received[rank] = piece }
    let exchange = PeerExchange("a measurement")
    try exchange.begin(sending: sent, receiving: received, on: wire)
    switch waiting {
    case .polling:
      try wire.wait(for: "a measurement of the link") { () throws(MPIError) in
        try exchange.isFinished()
      }
    case .napping:
      while try !exchange.isFinished() {
        var time = timespec(tv_sec: 0, tv_nsec: 50_000)
        unsafe nanosleep(&time, nil)
      }
    }
  }
}
