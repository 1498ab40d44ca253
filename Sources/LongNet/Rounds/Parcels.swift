import MPI
import SequenceParallel
import Tensors

/// What one rank sends to all and gets from all in a round of dilated attention.
///
/// What it has for itself is written where it is read.
@safe
final class Parcels {
  let round: Int
  let exchange: PeerExchange
  private let outgoing: ReusedMemory.Loan
  private let incoming: ReusedMemory.Loan
  private let outgoingMessages: [UnsafeMutableRawBufferPointer]
  private let incomingMessages: [UnsafeMutableRawBufferPointer]

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
    unsafe incomingMessages = Self.messages(incoming, in: self.incoming)
    var messages = unsafe Self.messages(sent, in: self.outgoing)
    unsafe messages[rank] = incomingMessages[rank]
    unsafe outgoingMessages = messages
  }

  private static func byteCount(_ floats: [Int]) -> Int {
    floats.reduce(0, +) * MemoryLayout<Float>.stride
  }

  @unsafe
  private static func messages(
    _ floats: [Int], in memory: borrowing ReusedMemory.Loan
  ) -> [UnsafeMutableRawBufferPointer] {
    var start = 0
    var messages: [UnsafeMutableRawBufferPointer] = unsafe []
    for count in floats {
      let end = start + count * MemoryLayout<Float>.stride
      unsafe messages.append(
        UnsafeMutableRawBufferPointer(rebasing: memory.buffer.unsafeMutableBytes[start..<end]))
      start = end
    }
    return unsafe messages
  }

  /// Starts to send and to receive.
  func begin(tag: Int, on world: borrowing Communicator) throws(MPIError) {
    // Both are of memory that this holds.
    try exchange.begin(
      sending: unsafe outgoingMessages.map { unsafe Piece(unowned: $0) },
      receiving: unsafe incomingMessages.map { unsafe Piece(unowned: $0) }, tag: tag,
      on: MPIWire(world.shared()))
  }

  /// For each rank, where what it is to get is to be written.
  var outgoingCursors: [MessageCursor] { unsafe outgoingMessages.map(Self.cursor) }

  /// For each rank, where what it has sent is to be read.
  var incomingCursors: [MessageCursor] { unsafe incomingMessages.map(Self.cursor) }

  private static func cursor(_ message: UnsafeMutableRawBufferPointer) -> MessageCursor {
    guard let address = message.baseAddress else { preconditionFailure("a message of no buffer") }
    return unsafe MessageCursor(address.assumingMemoryBound(to: Float.self))
  }
}
