/// Sends from memory of this module, so that the caller's call returns at once.
///
/// Small messages are usually gone before the call returns. What is not is kept here, and looked
/// after in later sends and at the end.
final class BufferedSends {
  @safe private struct Entry {
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
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 64)
    unsafe memory.copyMemory(from: bytes)
    let requests = RequestSet(capacity: chunking.count(forBytes: bytes.count))
    unsafe entries.append(
      Entry(
        requests: requests, memory: memory,
        what: TransferDescription(
          direction: .send, bytes: bytes.count, peer: destination, tag: tag)))
    try unsafe communicator.postSend(
      UnsafeRawBufferPointer(memory), to: destination, tag: tag, chunking: chunking, in: requests)
    try reap()
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
      let requests = entry.requests
      do throws(MPIError) {
        try requests.wait(until: deadline, for: "an acknowledgement")
      } catch {
        let message = entry.what.sentence(progress: requests.progress)
        stopProgram("all ranks are at their end, but nobody has received \(message)")
      }
    }
    try reap()
  }
}
