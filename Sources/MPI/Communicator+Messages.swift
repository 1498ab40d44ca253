extension Communicator {
  /// Sends a copy of `elements` and returns at once, whatever their size.
  ///
  /// For what is small beside the work: sizes, settings, results. As the copy belongs to MPI, ranks
  /// may all send first and receive afterwards, also to themselves, without a deadlock.
  ///
  /// - Parameters:
  ///   - elements: what to send.
  ///   - destination: the receiving rank of this communicator, this rank allowed.
  ///   - tag: tells messages between the same two ranks apart, 0 to ``largestTag``.
  ///   - chunkBytes: the size of a chunk, the same as the receiver's.
  /// - Throws: ``MPIError`` where MPI refuses the send.
  /// - Complexity: one copy, ``messageCount(forBytes:chunkBytes:)`` messages.
  ///
  /// C: `MPI_Isend`, MPI 3.1 §3.7.2.
  public func send<Element: BitwiseCopyable>(
    _ elements: Span<Element>, to destination: Int, tag: Int, chunkBytes: Int = defaultChunkBytes
  ) throws(MPIError) {
    state.checkPeer(destination, tag: tag)
    try unsafe elements.withUnsafeBytes { bytes throws(MPIError) in
      try unsafe state.session.owned.send(
        bytes, to: destination, tag: tag, chunking: Chunking(chunkBytes: chunkBytes), on: state)
    }
  }

  /// Receives exactly `elements.count` elements, and returns when they have arrived.
  ///
  /// - Parameters:
  ///   - elements: where to receive.
  ///   - source: the sending rank of this communicator, this rank allowed.
  ///   - tag: the tag of the send.
  ///   - chunkBytes: the size of a chunk, the same as the sender's.
  ///   - deadline: when to give up a message that has not begun to arrive; nil waits forever.
  /// - Throws: ``MPIError`` where the message is longer (``MPIError/ErrorClass/truncate``) or
  ///   shorter (``MPIError/ErrorClass/short``) than the receive, or has not come by the deadline
  ///   (``MPIError/ErrorClass/timedOut``).
  /// - Complexity: ``messageCount(forBytes:chunkBytes:)`` messages; no copy.
  ///
  /// C: `MPI_Improbe` and `MPI_Imrecv`, MPI 3.1 §3.8.
  public func receive<Element: BitwiseCopyable>(
    into elements: inout MutableSpan<Element>, from source: Int, tag: Int,
    chunkBytes: Int = defaultChunkBytes, deadline: ContinuousClock.Instant? = nil
  ) throws(MPIError) {
    state.checkPeer(source, tag: tag)
    let chunking = Chunking(chunkBytes: chunkBytes)
    try unsafe elements.withUnsafeMutableBytes { bytes throws(MPIError) in
      let requests = RequestSet(
        capacity: chunking.count(forBytes: bytes.count), communicator: state)
      let what = TransferDescription(
        direction: .receive, bytes: bytes.count, peer: source, tag: tag)
      unsafe state.postReceive(bytes, from: source, tag: tag, chunking: chunking, in: requests)
      do throws(MPIError) {
        try requests.wait(until: deadline, for: what.sentence(progress: requests.progress))
      } catch {
        requests.settle(after: error)
        throw error
      }
    }
  }
}
