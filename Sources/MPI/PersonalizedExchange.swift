/// Where each rank's part lies in a buffer of all parts, in bytes.
struct PartLayout {
  let offsets: [Int]
  let lengths: [Int]
  var totalBytes: Int { (offsets.last ?? 0) + (lengths.last ?? 0) }

  /// The parts one after another in rank order.
  init(lengths: [Int]) {
    var offset = 0
    self.lengths = lengths
    self.offsets = lengths.map { length in
      defer { offset += length }
      return offset
    }
  }

  /// The parts of `counts` elements of `stride` bytes each.
  init(counts: [Int], stride: Int) {
    precondition(counts.allSatisfy { $0 >= 0 }, "no rank can have fewer than 0 elements")
    self.init(lengths: counts.map { $0 * stride })
  }
}

/// Collectives made of messages: each pair of ranks sends only what it has, in any size.
///
/// MPI's collectives with counts for each rank take 32-bit counts *and* displacements, and whether
/// these suffice is known only to the rank that has the counts; the ranks could not choose another
/// way together. Open MPI does these collectives by plain messages between all pairs itself, so
/// nothing is lost. They use a tag that callers cannot, and are not counted as traffic.
extension CommunicatorState {
  private var chunking: Chunking {
    Chunking(chunkBytes: min(collectiveChunkBytes, Communicator.defaultChunkBytes))
  }

  /// Receives `incoming` from their ranks and sends `outgoing` to theirs, then waits for all.
  ///
  /// The part of this rank itself is copied.
  func exchange(
    sending outgoing: UnsafeRawBufferPointer, by sends: [(rank: Int, bytes: Range<Int>)],
    receiving incoming: UnsafeMutableRawBufferPointer,
    by receives: [(rank: Int, bytes: Range<Int>)], name: String
  ) throws(MPIError) {
    let chunking = chunking
    let all = (sends + receives).filter { $0.rank != rank }
    let requests = RequestSet(
      capacity: all.reduce(0) { $0 + chunking.count(forBytes: $1.bytes.count) },
      communicator: self)
    for part in receives where part.rank != rank {
      unsafe requests.postReceive(
        UnsafeMutableRawBufferPointer(rebasing: incoming[part.bytes]), from: part.rank,
        tag: session.reservedTag, chunking: chunking)
    }
    do throws(MPIError) {
      for part in sends where part.rank != rank {
        try unsafe requests.postSend(
          UnsafeRawBufferPointer(rebasing: outgoing[part.bytes]), to: part.rank,
          tag: session.reservedTag, chunking: chunking)
      }
      let own = sends.first { $0.rank == rank }?.bytes ?? 0..<0
      let place = receives.first { $0.rank == rank }?.bytes ?? 0..<0
      precondition(own.count == place.count, "a rank's part of itself has two sizes")
      unsafe UnsafeMutableRawBufferPointer(rebasing: incoming[place]).copyMemory(
        from: UnsafeRawBufferPointer(rebasing: outgoing[own]))
      try requests.wait(until: nil, for: name)
    } catch {
      requests.settle(after: error)
      throw error
    }
  }
}
