import MPI

/// A send or a receive that may be on its way.
final class Transfer {
  private let name: String
  private let timeline: Timeline?
  private var send: PendingSend<SlotBytes>?
  private var receive: PendingReceive<SlotBytes>?
  private var started = ContinuousClock.now
  private var owner = 0
  private var byteCount = 0

  /// - Parameters:
  ///   - name: of its spans in a timeline.
  ///   - timeline: where they are noted.
  init(_ name: String, _ timeline: Timeline?) {
    self.name = name
    self.timeline = timeline
  }

  /// Hands bytes to MPI; they must not be written until the transfer is finished.
  func send(
    _ bytes: UnsafeMutableRawBufferPointer, of owner: Int, to rank: Int, tag: Int,
    on ring: borrowing Communicator
  ) throws(MPIError) {
    unsafe begin(bytes, of: owner)
    send = try unsafe ring.send(SlotBytes(bytes), to: rank, tag: tag)
  }

  /// Gives MPI room; it must not be touched until the transfer is finished.
  func receive(
    into bytes: UnsafeMutableRawBufferPointer, of owner: Int, from rank: Int, tag: Int,
    on ring: borrowing Communicator
  ) {
    unsafe begin(bytes, of: owner)
    receive = unsafe ring.receive(into: SlotBytes(bytes), from: rank, tag: tag)
  }

  private func begin(_ bytes: UnsafeMutableRawBufferPointer, of owner: Int) {
    started = .now
    self.owner = owner
    byteCount = bytes.count
  }

  /// Moves the transfer on; answers whether nothing is on its way any more.
  func isFinished() throws(MPIError) -> Bool {
    let isSent: Bool? =
      switch send {
      case .some(let pending): try pending.test()
      case .none: nil
      }
    let isReceived: Bool? =
      switch receive {
      case .some(let pending): try pending.test()
      case .none: nil
      }
    if isSent == true, let pending = send.take() { _ = try pending.wait() }
    if isReceived == true, let pending = receive.take() { _ = try pending.wait() }
    if isSent == true || isReceived == true, let timeline {
      timeline.note(
        .transfers, "\(name) of \(owner)", from: started, to: .now, bytes: byteCount)
    }
    return isSent != false && isReceived != false
  }
}
