/// A receive in flight, which owns its buffer until the message has arrived.
///
/// Nothing can be read before ``wait(deadline:)`` gives the buffer back. A large message moves only
/// inside MPI calls: call ``test()`` between pieces of work, or nothing overlaps.
///
/// A pending receive that is dropped unfinished stops the program with a sentence.
public struct PendingReceive<Buffer: TransferBuffer & ~Copyable>: ~Copyable {
  private let requests: RequestSet
  private let held: Buffer
  private let what: TransferDescription

  init(_ requests: RequestSet, _ buffer: consuming Buffer, _ what: TransferDescription) {
    self.requests = requests
    self.held = buffer
    self.what = what
  }

  /// Moves the receive on and answers whether it is finished, without blocking or allocating.
  ///
  /// - Throws: ``MPIError`` where the message is longer (``MPIError/ErrorClass/truncate``) or
  ///   shorter (``MPIError/ErrorClass/short``) than the receive.
  /// - Complexity: one look at up to 32 requests, under a microsecond where nothing has changed.
  ///
  /// C: `MPI_Testsome`, MPI 3.1 §3.7.5.
  public borrowing func test() throws(MPIError) -> Bool {
    try requests.poll()
  }

  /// Waits until the whole message has arrived, and gives the buffer back.
  ///
  /// - Parameter deadline: when to give up; nil waits forever.
  /// - Returns: the buffer with the message.
  /// - Throws: ``MPIError`` where the message is longer (``MPIError/ErrorClass/truncate``) or
  ///   shorter (``MPIError/ErrorClass/short``) than the receive, or has not come by the deadline
  ///   (``MPIError/ErrorClass/timedOut``). The buffer is then lost; the receive is taken back where
  ///   no message has met it, otherwise its memory stays allocated.
  ///
  /// C: `MPI_Testsome`, MPI 3.1 §3.7.5.
  public consuming func wait(
    deadline: ContinuousClock.Instant? = nil
  ) throws(MPIError) -> Buffer {
    do throws(MPIError) {
      try requests.wait(until: deadline, for: what.sentence(progress: requests.progress))
    } catch {
      if !requests.cancel() {
        leak(held)
        requests.leak()
      }
      throw error
    }
    return held
  }
}
