extension Communicator {
  /// Collects on rank `root` the parts of all ranks, one after another in rank order.
  ///
  /// Every part has the same number of elements.
  ///
  /// - Parameters:
  ///   - part: this rank's part.
  ///   - whole: on `root` the place for ``size`` parts; ignored elsewhere and may be empty.
  ///   - root: the rank that collects.
  /// - Throws: ``MPIError`` on `root` where a rank's part has another size.
  /// - Complexity: one message from each rank to `root`, in chunks.
  ///
  /// C: as `MPI_Igather`, MPI 3.1 §5.12.3, by `MPI_Isend` and `MPI_Imrecv`.
  public func gather<Element: BitwiseCopyable>(
    _ part: Span<Element>, into whole: inout MutableSpan<Element>, at root: Int
  ) throws(MPIError) {
    try gather(
      part, into: &whole, counts: Array(repeating: part.count, count: size), at: root)
  }

  /// Collects on rank `root` the parts of all ranks, which may differ in size.
  ///
  /// - Parameters:
  ///   - part: this rank's part, which may be empty.
  ///   - whole: on `root` the place for all parts, in rank order; ignored elsewhere.
  ///   - counts: on `root` the number of elements of each rank's part; ignored elsewhere.
  ///   - root: the rank that collects.
  /// - Throws: ``MPIError`` on `root` where a rank's part has another size than its count.
  /// - Complexity: one message from each rank with a part to `root`, in chunks.
  ///
  /// C: as `MPI_Igatherv`, MPI 3.1 §5.12.3, by `MPI_Isend` and `MPI_Imrecv`.
  public func gather<Element: BitwiseCopyable>(
    _ part: Span<Element>, into whole: inout MutableSpan<Element>, counts: [Int], at root: Int
  ) throws(MPIError) {
    state.checkRoot(root)
    var receives: [(rank: Int, bytes: Range<Int>)] = []
    if rank == root {
      precondition(counts.count == size, "one count for each rank")
      precondition(whole.count == counts.reduce(0, +), "room for exactly all parts")
      let layout = PartLayout(counts: counts, stride: MemoryLayout<Element>.stride)
      receives = layout.parts
    }
    try unsafe part.withUnsafeBytes { source throws(MPIError) in
      try unsafe whole.withUnsafeMutableBytes { target throws(MPIError) in
        try unsafe state.exchange(
          sending: source, by: [(root, 0..<source.count)], receiving: target, by: receives,
          name: "a gather")
      }
    }
  }

  /// The arrays of all ranks on rank `root`, nil on the others; they may differ in size.
  ///
  /// - Complexity: a gather of the counts, then one of the elements.
  ///
  /// C: as `MPI_Igatherv`, MPI 3.1 §5.12.3.
  public func gather<Element: BitwiseCopyable>(
    _ part: [Element], at root: Int
  ) throws(MPIError) -> [[Element]]? {
    var counts = [Int](repeating: 0, count: rank == root ? size : 0)
    var countsSpan = counts.mutableSpan
    try gather([part.count].span, into: &countsSpan, at: root)
    var whole = [Element](uninitializedCount: counts.reduce(0, +))
    var wholeSpan = whole.mutableSpan
    try gather(part.span, into: &wholeSpan, counts: counts, at: root)
    return rank == root ? whole.split(into: counts) : nil
  }
}

extension PartLayout {
  /// Each rank with the place of its part.
  var parts: [(rank: Int, bytes: Range<Int>)] {
    lengths.indices.map { ($0, offsets[$0]..<offsets[$0] + lengths[$0]) }
  }
}

extension Array where Element: BitwiseCopyable {
  /// An array to receive into, whose elements have any value until then.
  init(uninitializedCount count: Int) {
    unsafe self.init(unsafeUninitializedCapacity: count) { _, initialized in initialized = count }
  }

  /// The consecutive parts with the given counts.
  func split(into counts: [Int]) -> [[Element]] {
    var start = 0
    return counts.map { count in
      defer { start += count }
      return Array(self[start..<start + count])
    }
  }
}
