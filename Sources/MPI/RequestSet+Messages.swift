extension RequestSet {
  /// Starts the send of a whole message in chunks.
  func postSend(
    _ bytes: UnsafeRawBufferPointer, to destination: Int, tag: Int, on handle: CommunicatorHandle,
    chunking: Chunking
  ) throws(MPIError) {
    for index in 0..<chunking.count(forBytes: bytes.count) {
      let length = chunking.length(of: index, inBytes: bytes.count)
      let start = index * chunking.chunkBytes
      try unsafe postSend(
        UnsafeRawBufferPointer(rebasing: bytes[start..<start + length]),
        to: destination, tag: tag, on: handle)
    }
  }

  /// Starts the receive of a whole message in chunks.
  func postReceive(
    _ bytes: UnsafeMutableRawBufferPointer, from source: Int, tag: Int,
    on handle: CommunicatorHandle, chunking: Chunking
  ) throws(MPIError) {
    for index in 0..<chunking.count(forBytes: bytes.count) {
      let length = chunking.length(of: index, inBytes: bytes.count)
      let start = index * chunking.chunkBytes
      try unsafe postReceive(
        UnsafeMutableRawBufferPointer(rebasing: bytes[start..<start + length]),
        from: source, tag: tag, on: handle)
    }
  }
}
