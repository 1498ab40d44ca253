extension RequestSet {
  /// Starts the send of a whole message in chunks.
  func postSend(
    _ bytes: UnsafeRawBufferPointer, to destination: Int, tag: Int, chunking: Chunking
  ) throws(MPIError) {
    for index in 0..<chunking.count(forBytes: bytes.count) {
      let length = chunking.length(of: index, inBytes: bytes.count)
      let start = index * chunking.chunkBytes
      try unsafe postSend(
        UnsafeRawBufferPointer(rebasing: bytes[start..<start + length]), to: destination, tag: tag)
    }
  }

  /// Expects a whole message in chunks.
  func postReceive(
    _ bytes: UnsafeMutableRawBufferPointer, from source: Int, tag: Int, chunking: Chunking
  ) {
    unsafe communicator.session.inbox.post(
      bytes, from: source, tag: tag, chunking: chunking, in: self)
  }
}
