import Glibc
package import MPI
import Tensors

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
    /// As a stream does, which polls as fast as it can at first.
    case polling
    /// Asleep for 50 µs between polls, much as a rank that computes polls between tiles: processor
    /// time is then that of the transfers and not of waiting for them.
    case napping
  }

  private let pattern: Pattern
  private let byteCount: Int
  private let communicator: Communicator
  private let outgoing: AlignedBuffer<UInt8>
  private let incoming: AlignedBuffer<UInt8>

  /// Makes the memory, called by all ranks of the communicator together: that of one message to send,
  /// and of one from each other rank.
  package init(
    _ pattern: Pattern, byteCount: Int, on communicator: borrowing Communicator
  ) throws(MPIError) {
    self.pattern = pattern
    self.byteCount = byteCount
    self.communicator = try communicator.duplicate()
    outgoing = AlignedBuffer(zeros: byteCount)
    incoming = AlignedBuffer(
      zeros: byteCount * (pattern == .exchange ? max(1, communicator.size - 1) : 1))
  }

  /// Sends and receives once, called by all ranks together.
  package func run(_ waiting: Waiting = .polling) throws(MPIError) {
    let (rank, size) = (communicator.rank, communicator.size)
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
    let nothing = unsafe UnsafeMutableRawBufferPointer(start: nil, count: 0)
    var sent = unsafe [UnsafeMutableRawBufferPointer](
      repeating: nothing, count: communicator.size)
    var received = unsafe sent
    for rank in receivers { unsafe sent[rank] = outgoing.unsafeMutableBytes }
    for (index, rank) in senders.enumerated() {
      unsafe received[rank] = UnsafeMutableRawBufferPointer(
        rebasing: incoming.unsafeMutableBytes[index * byteCount..<(index + 1) * byteCount])
    }
    let exchange = PeerExchange("a measurement")
    try unsafe exchange.begin(sending: sent, receiving: received, on: communicator)
    switch waiting {
    case .polling:
      try communicator.wait(for: "a measurement of the link") { () throws(MPIError) in
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
