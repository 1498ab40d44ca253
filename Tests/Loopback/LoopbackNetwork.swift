import MPI
import SequenceParallel

/// Messages on their way between the ranks of a job, and the watch over their memory.
///
/// A message moves in pieces of random size after a random delay. Some are taken out of the
/// sender's memory at once, as small ones are by MPI; others leave it only when they have met their
/// receive. What is sent must stay as it is until it has gone, and what is received into must stay
/// as the network has left it.
final class LoopbackNetwork {
  /// Where messages meet: of one sequence, in order.
  struct Key: Hashable {
    let wire: String
    let from: Int
    let to: Int
    let tag: Int
  }

  final class Message: Shipment {
    let key: Key
    let piece: Piece
    let isSend: Bool
    /// What was sent.
    let sent: [UInt8]
    /// Whether it has left the sender's memory at once.
    let isEager: Bool
    var delay: Int
    var isOver = false
    /// Moves the job on.
    let step: () -> Void

    init(
      _ key: Key, _ piece: Piece, isSend: Bool, isEager: Bool, delay: Int,
      step: @escaping () -> Void
    ) {
      self.key = key
      self.piece = piece
      self.isSend = isSend
      self.isEager = isEager
      self.delay = delay
      self.step = step
      sent = isSend ? piece.copiedBytes : []
    }

    func isFinished() -> Bool {
      step()
      return isOver || isEager
    }
  }

  /// What receives are filled with before anything comes.
  static let poison: UInt8 = 0xDB

  private var sends: [Key: [Message]] = [:]
  private var receives: [Key: [Message]] = [:]
  /// Keys in the order of their first message, so that nothing depends on hashes.
  private var keys: [Key] = []
  /// How much of the first message of a key has come.
  private var moved: [Key: Int] = [:]

  /// A message that has not met its other end.
  var left: Key? { keys.first { sends[$0]?.isEmpty == false || receives[$0]?.isEmpty == false } }

  func post(_ message: Message) {
    if !message.isSend { message.piece.fill(with: Self.poison) }
    if sends[message.key] == nil, receives[message.key] == nil { keys.append(message.key) }
    if message.isSend {
      sends[message.key, default: []].append(message)
    } else {
      receives[message.key, default: []].append(message)
    }
  }

  /// Moves a piece of one message, now and then; answers whether anything moved.
  func move(_ random: inout SplitMix) throws(LoopbackFault) -> Bool {
    let ready = keys.filter { sends[$0]?.isEmpty == false && receives[$0]?.isEmpty == false }
    guard !ready.isEmpty, random.next() % 3 > 0 else { return false }
    let key = ready[Int(random.next() % UInt64(ready.count))]
    guard let send = sends[key]?.first, let receive = receives[key]?.first else { return false }
    if send.delay > 0 {
      send.delay -= 1
      return true
    }
    let size = send.sent.count
    if receive.piece.byteCount != size {
      throw LoopbackFault("\(key): \(size) bytes meet room for \(receive.piece.byteCount)")
    }
    let start = moved[key, default: 0]
    let rest = UInt64(size - start)
    let count = random.next() % 2 == 0 ? Int(rest) : 1 + Int(random.next() % rest)
    if !send.isEager, send.piece.copiedBytes != send.sent {
      throw LoopbackFault("\(key): what is sent was written meanwhile")
    }
    let room = receive.piece.copiedBytes
    let expected =
      send.sent[..<start] + [UInt8](repeating: Self.poison, count: size - start)
    if !room.elementsEqual(expected) {
      throw LoopbackFault("\(key): the room of a message was written meanwhile")
    }
    receive.piece.write(send.sent[start..<start + count], at: start)
    moved[key] = start + count
    if start + count == size {
      send.isOver = true
      receive.isOver = true
      sends[key]?.removeFirst()
      receives[key]?.removeFirst()
      moved[key] = 0
    }
    return true
  }
}

extension Piece {
  /// A copy of the bytes.
  package var copiedBytes: [UInt8] { unsafe Array(unsafeBytes) }

  /// Writes the same byte everywhere.
  package func fill(with byte: UInt8) {
    unsafe unsafeBytes.update(repeating: byte)
  }

  /// Writes some bytes.
  package func write(_ new: some Collection<UInt8>, at start: Int) {
    for (index, byte) in new.enumerated() { unsafe unsafeBytes[start + index] = byte }
  }
}

extension UnsafeMutableRawBufferPointer {
  fileprivate func update(repeating byte: UInt8) {
    for index in indices { unsafe self[index] = byte }
  }
}
