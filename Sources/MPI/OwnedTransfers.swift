/// Transfers whose memory belongs to this module, so that no caller has to wait for them.
///
/// They are sends of copies, and messages that were taken off MPI to be thrown away. Small ones are
/// usually done at once; what is not is kept here, and looked after in later calls and at the end.
final class OwnedTransfers {
  @safe
  private struct Entry {
    let requests: RequestSet
    let memory: UnsafeMutableRawBufferPointer
    let what: TransferDescription
  }

  private var entries: [Entry] = []

  /// Copies `bytes` and starts to send the copy.
  func send(
    _ bytes: UnsafeRawBufferPointer, to destination: Int, tag: Int, chunking: Chunking,
    on communicator: CommunicatorState
  ) throws(MPIError) {
    try reap()
    if unsafe bytes.isEmpty { return }
    let requests = RequestSet(
      capacity: chunking.count(forBytes: bytes.count), communicator: communicator)
    let what = TransferDescription(
      direction: .send, bytes: bytes.count, peer: destination, tag: tag)
    let memory = unsafe add(requests, bytes: bytes.count, what)
    unsafe memory.copyMemory(from: bytes)
    try unsafe communicator.postSend(
      UnsafeRawBufferPointer(memory), to: destination, tag: tag, chunking: chunking, in: requests)
    try reap()
  }

  /// Receives a message that nobody wants, so that its sender comes to an end.
  func discard(
    _ message: MatchedMessage, on communicator: CommunicatorState
  ) throws(MPIError) {
    let requests = RequestSet(capacity: 1, communicator: communicator)
    let what = TransferDescription(
      direction: .receive, bytes: message.byteCount, peer: message.source, tag: message.tag)
    let memory = unsafe add(requests, bytes: message.byteCount, what)
    try unsafe requests.postReceive(of: message, into: memory)
  }

  private func add(
    _ requests: RequestSet, bytes: Int, _ what: TransferDescription
  ) -> UnsafeMutableRawBufferPointer {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes, alignment: 64)
    unsafe entries.append(Entry(requests: requests, memory: memory, what: what))
    return unsafe memory
  }

  /// Frees what is done.
  private func reap() throws(MPIError) {
    for entry in entries { _ = try entry.requests.poll() }
    entries.removeAll { entry in
      guard entry.requests.isFinished else { return false }
      unsafe entry.memory.deallocate()
      return true
    }
  }

  /// Waits for what is left, after all ranks have come to their end.
  ///
  /// By then every message that will be received has been: one that is left after the grace is a
  /// mistake in the program, and MPI could not be finalized with it.
  func finish(within grace: Duration) throws(MPIError) {
    let deadline = ContinuousClock.now + grace
    for entry in entries {
      do throws(MPIError) {
        try entry.requests.wait(until: deadline, for: "the last messages")
      } catch {
        let message = entry.what.sentence(progress: entry.requests.progress)
        stopProgram("all ranks are at their end, but this message is left: \(message)")
      }
    }
    try reap()
  }
}
