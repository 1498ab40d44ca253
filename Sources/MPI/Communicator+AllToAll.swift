internal import COpenMPI

extension Communicator {
  /// Sends to every rank a part of `outgoing`, and receives from every rank a part of `incoming`.
  ///
  /// Part r of `outgoing` goes to rank r; part s of `incoming` comes from rank s. All parts of all
  /// ranks have the same size, `outgoing.count` / ``size``.
  ///
  /// - Complexity: ``size`` − 1 messages a rank.
  ///
  /// C: `MPI_Ialltoall`, MPI 3.1 §5.12.6; `MPI_Isend` and `MPI_Imrecv` where a rank sends more than
  /// 1 GiB.
  public func allToAll<Element: BitwiseCopyable>(
    _ outgoing: Span<Element>, into incoming: inout MutableSpan<Element>
  ) throws(MPIError) {
    precondition(outgoing.count == incoming.count, "as much comes in as goes out")
    precondition(outgoing.count.isMultiple(of: size), "one part for each rank")
    let count = outgoing.count / size
    let bytes = count * MemoryLayout<Element>.stride
    if bytes * size > state.collectiveChunkBytes {
      let counts = [Int](repeating: count, count: size)
      return try allToAll(
        outgoing, counts: counts, into: &incoming, counts: counts)
    }
    try unsafe outgoing.withUnsafeBytes { source throws(MPIError) in
      try unsafe incoming.withUnsafeMutableBytes { target throws(MPIError) in
        try unsafe state.complete("MPI_Ialltoall") { request in
          unsafe MPI_Ialltoall(
            source.baseAddress, CInt(bytes), copenmpi_byte(), target.baseAddress, CInt(bytes),
            copenmpi_byte(), state.handle.raw, request)
        }
      }
    }
  }

  /// Sends to every rank a part of `outgoing`, and receives from every rank a part of `incoming`;
  /// the parts may differ in size.
  ///
  /// - Parameters:
  ///   - outgoing: the parts for each rank, in rank order.
  ///   - outgoingCounts: the number of elements for each rank.
  ///   - incoming: the place for the parts from each rank, in rank order.
  ///   - incomingCounts: the number of elements from each rank: rank s has the same number as its
  ///     count for this rank.
  /// - Throws: ``MPIError`` where a part has another size than its count.
  /// - Complexity: a message, in chunks, for each pair of ranks with a part; none for the others.
  ///
  /// C: as `MPI_Ialltoallv`, MPI 3.1 §5.12.6, by `MPI_Isend` and `MPI_Imrecv`.
  public func allToAll<Element: BitwiseCopyable>(
    _ outgoing: Span<Element>, counts outgoingCounts: [Int],
    into incoming: inout MutableSpan<Element>, counts incomingCounts: [Int]
  ) throws(MPIError) {
    precondition(
      outgoingCounts.count == size && incomingCounts.count == size, "one count for each rank")
    precondition(outgoing.count == outgoingCounts.reduce(0, +), "exactly all outgoing parts")
    precondition(incoming.count == incomingCounts.reduce(0, +), "exactly all incoming parts")
    let stride = MemoryLayout<Element>.stride
    let sends = PartLayout(counts: outgoingCounts, stride: stride)
    let receives = PartLayout(counts: incomingCounts, stride: stride)
    // Each rank starts with its successor, so that not all send to rank 0 first.
    let first = (rank + 1) % size
    try unsafe outgoing.withUnsafeBytes { source throws(MPIError) in
      try unsafe incoming.withUnsafeMutableBytes { target throws(MPIError) in
        try unsafe state.exchange(
          sending: source, by: Array(sends.parts[first...] + sends.parts[..<first]),
          receiving: target, by: receives.parts, name: "an all-to-all")
      }
    }
  }

  /// Sends array r to rank r, and answers with the arrays that all ranks have sent to this one.
  ///
  /// - Complexity: an all-to-all of the counts, then one of the elements.
  ///
  /// C: as `MPI_Ialltoallv`, MPI 3.1 §5.12.6.
  public func allToAll<Element: BitwiseCopyable>(
    _ outgoing: [[Element]]
  ) throws(MPIError) -> [[Element]] {
    precondition(outgoing.count == size, "one array for each rank")
    let outgoingCounts = outgoing.map(\.count)
    var incomingCounts = [Int](repeating: 0, count: size)
    var countsSpan = incomingCounts.mutableSpan
    try allToAll(outgoingCounts.span, into: &countsSpan)
    let flat = Array(outgoing.joined())
    var incoming = [Element](uninitializedCount: incomingCounts.reduce(0, +))
    var span = incoming.mutableSpan
    try allToAll(flat.span, counts: outgoingCounts, into: &span, counts: incomingCounts)
    return incoming.split(into: incomingCounts)
  }
}
