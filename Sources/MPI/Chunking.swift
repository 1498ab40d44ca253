/// How a message of any size is cut into messages that MPI can take.
///
/// A message of n bytes is ⌊n / chunkBytes⌋ full chunks and then one that is shorter, which is
/// empty where n divides evenly. The short chunk ends the message: had it been longer or shorter
/// than its receive, a full chunk would meet the memory of a short one, or the other way round, and
/// every difference between two sizes is found. No bytes are no message.
struct Chunking {
  let chunkBytes: Int

  init(chunkBytes: Int) {
    precondition(
      (1...Communicator.largestChunkBytes).contains(chunkBytes),
      "a chunk has 1 to \(Communicator.largestChunkBytes) bytes, not \(chunkBytes)")
    self.chunkBytes = chunkBytes
  }

  /// The chunks of a message of `bytes` bytes.
  func count(forBytes bytes: Int) -> Int {
    bytes == 0 ? 0 : bytes / chunkBytes + 1
  }

  /// The bytes of chunk `index` of a message of `bytes` bytes.
  func length(of index: Int, inBytes bytes: Int) -> Int {
    min(chunkBytes, bytes - index * chunkBytes)
  }
}

extension Communicator {
  /// The most bytes that one chunk can have: 1 GiB, since MPI 3.1 counts in 32 bits.
  public static let largestChunkBytes = 1 << 30

  /// The bytes of a chunk unless a transfer says otherwise: 4 MiB.
  ///
  /// In shared memory and over TCP the throughput is the same from 1 MiB up; smaller chunks cost
  /// requests, larger ones come to nothing.
  public static let defaultChunkBytes = 4 << 20

  /// How many messages a transfer of `bytes` bytes is on the wire: 0 for none,
  /// ⌊`bytes` / `chunkBytes`⌋ + 1 otherwise.
  ///
  /// The last chunk is always shorter than the others, empty where `bytes` divides evenly; so a
  /// receive of another size than the send is an error instead of a wrong or missing piece.
  public static func messageCount(
    forBytes bytes: Int, chunkBytes: Int = defaultChunkBytes
  ) -> Int {
    Chunking(chunkBytes: chunkBytes).count(forBytes: bytes)
  }
}
