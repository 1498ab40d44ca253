internal import COpenMPI

extension Communicator {
  /// Collects on every rank the parts of all ranks, one after another in rank order.
  ///
  /// Every part has the same number of elements.
  ///
  /// - Parameters:
  ///   - part: this rank's part.
  ///   - whole: the place for ``size`` parts.
  /// - Throws: ``MPIError`` where MPI fails.
  /// - Complexity: O(log ``size``) messages a rank for small parts, ``size`` − 1 for large ones.
  ///
  /// C: `MPI_Iallgather`, MPI 3.1 §5.12.5; `MPI_Isend` and `MPI_Imrecv` where the whole is larger
  /// than 1 GiB.
  public func allGather<Element: BitwiseCopyable>(
    _ part: Span<Element>, into whole: inout MutableSpan<Element>
  ) throws(MPIError) {
    precondition(whole.count == part.count * size, "room for exactly all parts")
    let bytes = part.count * MemoryLayout<Element>.stride
    if bytes * size > state.collectiveChunkBytes {
      let counts = [Int](repeating: part.count, count: size)
      return try allGatherByMessages(part, into: &whole, counts: counts)
    }
    try unsafe part.withUnsafeBytes { source throws(MPIError) in
      try unsafe whole.withUnsafeMutableBytes { target throws(MPIError) in
        try unsafe state.complete("MPI_Iallgather") { request in
          unsafe MPI_Iallgather(
            source.baseAddress, CInt(bytes), copenmpi_byte(), target.baseAddress, CInt(bytes),
            copenmpi_byte(), state.handle.raw, request)
        }
      }
    }
  }

  /// Collects on every rank the parts of all ranks, which may differ in size.
  ///
  /// - Parameters:
  ///   - part: this rank's part, which may be empty.
  ///   - whole: the place for all parts, in rank order.
  ///   - counts: the number of elements of each rank's part, the same on every rank.
  /// - Throws: ``MPIError`` where MPI fails.
  /// - Complexity: ``size`` − 1 messages a rank.
  ///
  /// C: `MPI_Iallgatherv`, MPI 3.1 §5.12.5; `MPI_Isend` and `MPI_Imrecv` where the whole is larger
  /// than 1 GiB.
  public func allGather<Element: BitwiseCopyable>(
    _ part: Span<Element>, into whole: inout MutableSpan<Element>, counts: [Int]
  ) throws(MPIError) {
    precondition(counts.count == size, "one count for each rank")
    precondition(counts[rank] == part.count, "this rank's count is the size of its part")
    precondition(whole.count == counts.reduce(0, +), "room for exactly all parts")
    let layout = PartLayout(counts: counts, stride: MemoryLayout<Element>.stride)
    if layout.totalBytes > state.collectiveChunkBytes {
      return try allGatherByMessages(part, into: &whole, counts: counts)
    }
    let lengths = layout.lengths.map(CInt.init)
    let offsets = layout.offsets.map(CInt.init)
    try unsafe part.withUnsafeBytes { source throws(MPIError) in
      try unsafe whole.withUnsafeMutableBytes { target throws(MPIError) in
        // MPI may read the counts until the call is complete: both arrays stay put around it.
        try unsafe lengths.withUnsafeBufferPointer { lengths throws(MPIError) in
          try unsafe offsets.withUnsafeBufferPointer { offsets throws(MPIError) in
            try unsafe state.complete("MPI_Iallgatherv") { request in
              unsafe MPI_Iallgatherv(
                source.baseAddress, CInt(source.count), copenmpi_byte(), target.baseAddress,
                lengths.baseAddress, offsets.baseAddress, copenmpi_byte(), state.handle.raw,
                request)
            }
          }
        }
      }
    }
  }

  /// The values of all ranks, in rank order.
  ///
  /// C: `MPI_Iallgather`, MPI 3.1 §5.12.5.
  public func allGather<Element: BitwiseCopyable>(
    _ value: Element
  ) throws(MPIError) -> [Element] {
    var whole = [Element](repeating: value, count: size)
    var span = whole.mutableSpan
    try allGather([value].span, into: &span)
    return whole
  }

  /// The arrays of all ranks, in rank order; they may differ in size.
  ///
  /// - Complexity: an allgather of the counts, then one of the elements.
  ///
  /// C: `MPI_Iallgatherv`, MPI 3.1 §5.12.5.
  public func allGather<Element: BitwiseCopyable>(
    _ part: [Element]
  ) throws(MPIError) -> [[Element]] {
    let counts = try allGather(part.count)
    var whole = [Element](uninitializedCount: counts.reduce(0, +))
    var span = whole.mutableSpan
    try allGather(part.span, into: &span, counts: counts)
    return whole.split(into: counts)
  }

  private func allGatherByMessages<Element: BitwiseCopyable>(
    _ part: Span<Element>, into whole: inout MutableSpan<Element>, counts: [Int]
  ) throws(MPIError) {
    let layout = PartLayout(counts: counts, stride: MemoryLayout<Element>.stride)
    let ranks = 0..<size
    try unsafe part.withUnsafeBytes { source throws(MPIError) in
      try unsafe whole.withUnsafeMutableBytes { target throws(MPIError) in
        try unsafe state.exchange(
          sending: source, by: ranks.map { ($0, 0..<source.count) }, receiving: target,
          by: layout.parts, name: "an allgather")
      }
    }
  }
}
