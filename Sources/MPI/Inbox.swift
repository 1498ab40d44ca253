internal import COpenMPI

/// Receives that wait for their messages.
///
/// A receive is handed to MPI only when its message is there and has the expected size. MPI could
/// be given the receive beforehand, and says `MPI_ERR_TRUNCATE` where the message is too long; but
/// Open MPI 4.1 (pml ob1) writes such a message past the end of the memory wherever it moves by
/// remote memory access: beyond 1 KiB to the rank itself, beyond the eager limit in shared memory
/// and over TCP. An error is of no use to a program whose heap is destroyed. A message that is
/// looked at first is safe, and a receive that nothing has met can be taken back.
///
/// It costs no time that overlaps: without a progress thread a large message starts to move only
/// inside an MPI call of its receiver in either way. Every poll and every wait of the module
/// matches all receives, so that a rank which waits for its send still answers its neighbour.
final class Inbox {
  /// A message that is expected, chunk by chunk.
  @safe
  private struct Entry {
    unowned let requests: RequestSet
    let source: Int
    let tag: Int
    let bytes: UnsafeMutableRawBufferPointer
    let chunking: Chunking
    var nextChunk = 0

    /// Whether both take messages from the same sequence, so that the earlier has to go first.
    func competes(with other: Entry) -> Bool {
      source == other.source && tag == other.tag
        && requests.communicator === other.requests.communicator
    }
  }

  /// The receives that may take the next message of their sequence.
  private var open: [Entry] = []
  /// The receives that wait for an open one of the same sequence, in the order of posting.
  private var blocked: [Entry] = []
  /// Where the next round of looks begins.
  private var cursor = 0
  /// How many receives one round looks at: each look that finds nothing is a round of MPI's own.
  private static let window = 32

  /// Expects a message of `bytes.count` bytes.
  func post(
    _ bytes: UnsafeMutableRawBufferPointer, from source: Int, tag: Int, chunking: Chunking,
    in requests: RequestSet
  ) {
    let chunks = chunking.count(forBytes: bytes.count)
    if chunks == 0 { return }
    requests.expect(chunks)
    let entry = unsafe Entry(
      requests: requests, source: source, tag: tag, bytes: bytes, chunking: chunking)
    if open.contains(where: { $0.competes(with: entry) }) {
      blocked.append(entry)
    } else {
      open.append(entry)
    }
  }

  /// Takes back all that `requests` still expects.
  func remove(_ requests: RequestSet) {
    blocked.removeAll { $0.requests === requests }
    for index in open.indices.reversed() where open[index].requests === requests {
      close(at: index)
    }
  }

  /// Starts the receive of every message that has arrived.
  ///
  /// - Complexity: at most 32 looks; the next call goes on where this one stops.
  func match() {
    var looks = min(open.count, Self.window)
    while looks > 0 && !open.isEmpty {
      looks -= 1
      if cursor >= open.count { cursor = 0 }
      if matchAll(at: cursor) { close(at: cursor) } else { cursor += 1 }
    }
  }

  /// Starts the receive of the chunks that have arrived; answers whether the entry is done with.
  private func matchAll(at index: Int) -> Bool {
    let requests = open[index].requests
    do throws(MPIError) {
      while let message = try MatchedMessage.next(
        from: open[index].source, tag: open[index].tag, on: requests.communicator.handle)
      {
        let (bytes, chunk) = unsafe (open[index].bytes, open[index].nextChunk)
        let start = chunk * open[index].chunking.chunkBytes
        let length = open[index].chunking.length(of: chunk, inBytes: bytes.count)
        guard message.byteCount == length else {
          try requests.communicator.session.owned.discard(message, on: requests.communicator)
          throw message.sizeError(expected: length)
        }
        try unsafe requests.postReceive(
          of: message, into: UnsafeMutableRawBufferPointer(rebasing: bytes[start..<start + length]))
        requests.hasMet()
        open[index].nextChunk += 1
        if open[index].nextChunk == open[index].chunking.count(forBytes: bytes.count) {
          return true
        }
      }
      return false
    } catch {
      requests.fail(error)
      return true
    }
  }

  /// Removes an entry; the first that it kept waiting takes its place.
  private func close(at index: Int) {
    let closed = open[index]
    if let next = blocked.firstIndex(where: { $0.competes(with: closed) }) {
      open[index] = blocked.remove(at: next)
    } else {
      open.remove(at: index)
    }
  }
}
