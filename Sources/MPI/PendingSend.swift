/// A send in flight, which owns its buffer until MPI has read all of it.
///
/// The buffer can be read meanwhile through ``buffer``, and not written: a ring computes on the
/// block in hand while the block is on its way to the next rank. A large message moves only
/// inside MPI calls: call ``test()`` between pieces of work, or nothing overlaps.
///
/// A pending send that is dropped unfinished stops the program with a sentence.
public struct PendingSend<Buffer: TransferBuffer & ~Copyable>: ~Copyable {
  private let requests: RequestSet
  /// The buffer being sent, to read.
  ///
  /// Pass it to a function that borrows it: Swift 6.3 does not let a value be consumed in the
  /// function that has taken a span of it out of a `let`, even after the span's last use.
  public let buffer: Buffer
  private let what: TransferDescription

  init(_ requests: RequestSet, _ buffer: consuming Buffer, _ what: TransferDescription) {
    self.requests = requests
    self.buffer = buffer
    self.what = what
  }

  /// Moves the send on and answers whether it is finished, without blocking or allocating.
  ///
  /// - Complexity: one look at up to 32 requests, under a microsecond where nothing has changed.
  ///
  /// C: `MPI_Testsome`, MPI 3.1 §3.7.5.
  public borrowing func test() throws(MPIError) -> Bool {
    try requests.poll()
  }

  /// Waits until MPI has read the whole buffer, and gives it back.
  ///
  /// That the send is finished does not say that the message was received: a small one is copied.
  ///
  /// - Parameter deadline: when to give up; nil waits forever.
  /// - Returns: the buffer.
  /// - Throws: ``MPIError`` on a failed transfer and, as ``MPIError/ErrorClass/timedOut``, at the
  ///   deadline. The buffer is then lost: as a send cannot be taken back, its memory stays
  ///   allocated.
  ///
  /// C: `MPI_Testsome`, MPI 3.1 §3.7.5.
  public consuming func wait(
    deadline: ContinuousClock.Instant? = nil
  ) throws(MPIError) -> Buffer {
    do throws(MPIError) {
      try requests.wait(until: deadline, for: what.sentence(progress: requests.progress))
    } catch {
      if !requests.cancel() {
        leak(buffer)
        requests.leak()
      }
      throw error
    }
    return buffer
  }
}
