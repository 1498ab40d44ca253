package import MPI

/// Bytes that change hands between pairs of ranks, in the background.
///
/// Every rank knows what every other has for it, so no sizes are told. Unlike
/// `Communicator.allToAll` it does not wait, and its messages are counted as traffic. Those that
/// are on their way at a time have tags of their own.
package final class PeerExchange {
  private let name: String
  private let firstRank: Int
  private let timeline: Timeline?
  private var transfers: [Transfer] = []

  /// - Parameters:
  ///   - name: what travels, for a timeline.
  ///   - firstRank: what number rank 0 has there.
  package init(_ name: String, firstRank: Int = 0, timeline: Timeline? = nil) {
    self.name = name
    self.firstRank = firstRank
    self.timeline = timeline
  }

  /// Starts to send and to receive, called by all ranks together; this rank's own part is copied,
  /// unless it is to stay where it is.
  ///
  /// No part may be touched until the exchange is finished.
  ///
  /// - Parameters:
  ///   - outgoing: a part for each rank; empty ones are not sent.
  ///   - incoming: room for what each rank has for this one, of the size that it sends.
  ///   - tag: of all messages of the exchange.
  package func begin(
    sending outgoing: [Piece], receiving incoming: [Piece], tag: Int = 0, on wire: any Wire
  ) throws(MPIError) {
    let (size, rank) = (wire.size, wire.rank)
    precondition(outgoing.count == size && incoming.count == size, "a part for each rank")
    // Each rank starts with its neighbours, so that not all send to rank 0 first.
    for peer in (1..<max(size, 1)).map({ (rank - $0 + size) % size })
    where incoming[peer].byteCount > 0 {
      let transfer = Transfer("receive \(name)", timeline)
      transfer.receive(
        into: [incoming[peer]], of: firstRank + peer, from: peer, tag: tag, on: wire)
      transfers.append(transfer)
    }
    for peer in (1..<max(size, 1)).map({ (rank + $0) % size })
    where outgoing[peer].byteCount > 0 {
      let transfer = Transfer("send \(name)", timeline)
      try transfer.send([outgoing[peer]], of: firstRank + rank, to: peer, tag: tag, on: wire)
      transfers.append(transfer)
    }
    incoming[rank].copy(from: outgoing[rank])
  }

  /// Moves the exchange on; answers whether it is over.
  package func isFinished() throws(MPIError) -> Bool {
    var isOver = true
    for transfer in transfers where try !transfer.isFinished() { isOver = false }
    return isOver
  }
}
