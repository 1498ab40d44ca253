import MPI
import Tensors

/// What one rank sends to all and gets from all in a round of dilated attention.
///
/// What it has for itself is written where it is read.
@safe
final class Parcels {
  let round: Int
  let exchange: PeerExchange
  private let outgoing: ReusedMemory.Part
  private let incoming: ReusedMemory.Part
  private let outgoingParts: [UnsafeMutableRawBufferPointer]
  private let incomingParts: [UnsafeMutableRawBufferPointer]

  /// - Parameters:
  ///   - outgoing: floats for each rank.
  ///   - incoming: floats from each rank.
  init(
    _ name: String, round: Int, outgoing: [Int], incoming: [Int], rank: Int,
    _ memory: ReusedMemory, _ timeline: Timeline?
  ) {
    self.round = round
    exchange = PeerExchange(name, timeline: timeline)
    var sent = outgoing
    sent[rank] = 0
    self.outgoing = memory.take(Self.byteCount(sent))
    self.incoming = memory.take(Self.byteCount(incoming))
    unsafe incomingParts = Self.parts(incoming, of: self.incoming)
    var parts = unsafe Self.parts(sent, of: self.outgoing)
    unsafe parts[rank] = incomingParts[rank]
    unsafe outgoingParts = parts
  }

  private static func byteCount(_ floats: [Int]) -> Int {
    floats.reduce(0, +) * MemoryLayout<Float>.stride
  }

  @unsafe
  private static func parts(
    _ floats: [Int], of memory: borrowing ReusedMemory.Part
  ) -> [UnsafeMutableRawBufferPointer] {
    var start = 0
    var parts: [UnsafeMutableRawBufferPointer] = unsafe []
    for count in floats {
      let end = start + count * MemoryLayout<Float>.stride
      unsafe parts.append(
        UnsafeMutableRawBufferPointer(rebasing: memory.buffer.unsafeMutableBytes[start..<end]))
      start = end
    }
    return unsafe parts
  }

  /// Starts to send and to receive.
  func begin(tag: Int, on world: borrowing Communicator) throws(MPIError) {
    // Both are of memory that this holds.
    try exchange.begin(
      sending: unsafe outgoingParts.map { unsafe Piece(unowned: $0) },
      receiving: unsafe incomingParts.map { unsafe Piece(unowned: $0) }, tag: tag,
      on: MPIWire(world.shared()))
  }

  /// For each rank, where what it is to get is to be written.
  var outgoingCursors: [DilatedRounds.Cursor] { unsafe outgoingParts.map(Self.cursor) }

  /// For each rank, where what it has sent is to be read.
  var incomingCursors: [DilatedRounds.Cursor] { unsafe incomingParts.map(Self.cursor) }

  private static func cursor(_ part: UnsafeMutableRawBufferPointer) -> DilatedRounds.Cursor {
    guard let address = part.baseAddress else { preconditionFailure("a part of no buffer") }
    return unsafe DilatedRounds.Cursor(address.assumingMemoryBound(to: Float.self))
  }
}
