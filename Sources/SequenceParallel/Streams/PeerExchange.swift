import MPI
import Tensors

/// Parts of two buffers that change hands between pairs of ranks, in the background.
///
/// Every rank knows what every other has for it, so no sizes are told. Unlike
/// `Communicator.allToAll` it does not wait, and its messages are counted as traffic.
final class PeerExchange {
  /// Where each rank's part begins in a buffer, and its end: `ranks + 1` offsets in bytes.
  typealias Offsets = [Int]

  private let name: String
  private let timeline: Timeline?
  private var transfers: [Transfer] = []

  /// - Parameter name: what travels, for a timeline.
  init(_ name: String, timeline: Timeline? = nil) {
    self.name = name
    self.timeline = timeline
  }

  /// Starts to send and to receive, called by all ranks together; this rank's own part of either
  /// buffer is left alone.
  ///
  /// Neither buffer may be touched until the exchange is finished.
  ///
  /// - Parameters:
  ///   - tag: distinguishes exchanges that are on their way at a time.
  func begin(
    sending outgoing: borrowing AlignedBuffer<UInt8>, _ sends: Offsets,
    receiving incoming: borrowing AlignedBuffer<UInt8>, _ receives: Offsets, tag: Int,
    on world: borrowing Communicator
  ) throws(MPIError) {
    precondition(
      sends.count == world.size + 1 && receives.count == world.size + 1, "a part for each rank")
    let rank = world.rank
    func part(_ buffer: UnsafeMutableRawBufferPointer, _ offsets: Offsets, of peer: Int)
      -> UnsafeMutableRawBufferPointer
    {
      unsafe UnsafeMutableRawBufferPointer(
        rebasing: buffer[offsets[peer]..<offsets[peer + 1]])
    }
    // Each rank starts with its neighbours, so that not all send to rank 0 first.
    for step in 1..<max(world.size, 1) {
      let peer = (rank - step + world.size) % world.size
      if receives[peer] == receives[peer + 1] { continue }
      let transfer = Transfer("receive \(name)", timeline)
      unsafe transfer.receive(
        into: part(incoming.unsafeMutableBytes, receives, of: peer), of: peer, from: peer, tag: tag,
        on: world)
      transfers.append(transfer)
    }
    for step in 1..<max(world.size, 1) {
      let peer = (rank + step) % world.size
      if sends[peer] == sends[peer + 1] { continue }
      let transfer = Transfer("send \(name)", timeline)
      try unsafe transfer.send(
        part(outgoing.unsafeMutableBytes, sends, of: peer), of: rank, to: peer, tag: tag, on: world)
      transfers.append(transfer)
    }
  }

  /// Moves the exchange on; answers whether it is over.
  func isFinished() throws(MPIError) -> Bool {
    var isOver = true
    for transfer in transfers where try !transfer.isFinished() { isOver = false }
    if isOver { transfers.removeAll() }
    return isOver
  }
}
