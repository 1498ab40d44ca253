extension Communicator {
  /// Starts to send `buffer`, which belongs to the transfer until its wait gives it back.
  ///
  /// The message travels in chunks under one tag, in order; the receiver uses the same size and the
  /// same `chunkBytes`. No bytes are no message: the transfer is finished at once.
  ///
  /// - Parameters:
  ///   - buffer: what to send.
  ///   - destination: the receiving rank of this communicator, this rank allowed.
  ///   - tag: tells messages between the same two ranks apart, 0 to ``largestTag``.
  ///   - byteCount: send only the first bytes of the buffer; nil sends all.
  ///   - chunkBytes: the size of a chunk, up to ``largestChunkBytes``.
  /// - Returns: the transfer in flight.
  /// - Throws: ``MPIError`` where MPI refuses the send.
  /// - Complexity: ``messageCount(forBytes:chunkBytes:)`` messages; no copy.
  ///
  /// C: `MPI_Isend`, MPI 3.1 §3.7.2.
  public func send<Buffer: TransferBuffer & ~Copyable>(
    _ buffer: consuming Buffer, to destination: Int, tag: Int, byteCount: Int? = nil,
    chunkBytes: Int = defaultChunkBytes
  ) throws(MPIError) -> PendingSend<Buffer> {
    state.checkPeer(destination, tag: tag)
    let chunking = Chunking(chunkBytes: chunkBytes)
    let bytes = unsafe buffer.withUnsafeTransferBytes { unsafe $0.first(byteCount) }
    let requests = RequestSet(
      capacity: chunking.count(forBytes: bytes.count), communicator: state)
    do throws(MPIError) {
      try unsafe state.postSend(
        bytes, to: destination, tag: tag, chunking: chunking, in: requests)
    } catch {
      if !requests.cancel() {
        leak(buffer)
        requests.leak()
      }
      throw error
    }
    return PendingSend(
      requests, buffer,
      TransferDescription(
        direction: .send, bytes: bytes.count, peer: destination, tag: tag))
  }

  /// Starts to receive into `buffer`, which belongs to the transfer until its wait gives it back.
  ///
  /// The receive expects exactly the bytes that the buffer shows, or `byteCount` of them; bytes
  /// beyond are not touched. A message of another size is an error of the wait, and what is left of
  /// it meets the next receive of the tag. No bytes are no message: the transfer is finished at
  /// once.
  ///
  /// - Parameters:
  ///   - buffer: where to receive.
  ///   - source: the sending rank of this communicator, this rank allowed.
  ///   - tag: the tag of the send.
  ///   - byteCount: receive only into the first bytes of the buffer; nil expects all.
  ///   - chunkBytes: the size of a chunk, the same as the sender's.
  /// - Returns: the transfer in flight.
  /// - Complexity: ``messageCount(forBytes:chunkBytes:)`` messages; no copy.
  ///
  /// C: `MPI_Improbe` and `MPI_Imrecv`, MPI 3.1 §3.8.
  public func receive<Buffer: TransferBuffer & ~Copyable>(
    into buffer: consuming Buffer, from source: Int, tag: Int, byteCount: Int? = nil,
    chunkBytes: Int = defaultChunkBytes
  ) -> PendingReceive<Buffer> {
    state.checkPeer(source, tag: tag)
    let chunking = Chunking(chunkBytes: chunkBytes)
    let bytes = unsafe buffer.withUnsafeMutableTransferBytes { unsafe $0.first(byteCount) }
    let requests = RequestSet(
      capacity: chunking.count(forBytes: bytes.count), communicator: state)
    unsafe state.postReceive(bytes, from: source, tag: tag, chunking: chunking, in: requests)
    return PendingReceive(
      requests, buffer,
      TransferDescription(
        direction: .receive, bytes: bytes.count, peer: source, tag: tag))
  }
}

extension CommunicatorState {
  func checkPeer(_ peer: Int, tag: Int) {
    precondition(
      (0..<size).contains(peer), "rank \(peer) is not in a communicator of \(size) ranks")
    precondition(
      (0..<session.reservedTag).contains(tag), "tag \(tag) is not in 0..<\(session.reservedTag)")
  }

  /// Posts and counts a send.
  func postSend(
    _ bytes: UnsafeRawBufferPointer, to destination: Int, tag: Int, chunking: Chunking,
    in requests: RequestSet
  ) throws(MPIError) {
    try unsafe requests.postSend(bytes, to: destination, tag: tag, chunking: chunking)
    traffic.bytesSent += bytes.count
    traffic.messagesSent += chunking.count(forBytes: bytes.count)
  }

  /// Posts and counts a receive.
  func postReceive(
    _ bytes: UnsafeMutableRawBufferPointer, from source: Int, tag: Int, chunking: Chunking,
    in requests: RequestSet
  ) {
    unsafe requests.postReceive(bytes, from: source, tag: tag, chunking: chunking)
    traffic.bytesReceived += bytes.count
    traffic.messagesReceived += chunking.count(forBytes: bytes.count)
  }
}

extension UnsafeRawBufferPointer {
  /// The first `count` bytes, all for nil.
  func first(_ count: Int?) -> UnsafeRawBufferPointer {
    guard let count else { return unsafe self }
    precondition((0...self.count).contains(count), "the buffer has no \(count) bytes")
    return unsafe UnsafeRawBufferPointer(rebasing: self[..<count])
  }
}

extension UnsafeMutableRawBufferPointer {
  /// The first `count` bytes, all for nil.
  func first(_ count: Int?) -> UnsafeMutableRawBufferPointer {
    guard let count else { return unsafe self }
    precondition((0...self.count).contains(count), "the buffer has no \(count) bytes")
    return unsafe UnsafeMutableRawBufferPointer(rebasing: self[..<count])
  }
}
