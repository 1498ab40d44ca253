internal import COpenMPI

extension Communicator {
  /// Copies the elements of rank `root` to all ranks.
  ///
  /// Every rank passes the same number of elements. More than 1 GiB goes in several calls.
  ///
  /// - Parameters:
  ///   - elements: on `root` the source, elsewhere overwritten.
  ///   - root: the rank to copy from.
  /// - Throws: ``MPIError`` where MPI fails.
  /// - Complexity: O(log ``size``) messages a rank.
  ///
  /// C: `MPI_Ibcast`, MPI 3.1 §5.12.2.
  public func broadcast<Element: BitwiseCopyable>(
    _ elements: inout MutableSpan<Element>, from root: Int
  ) throws(MPIError) {
    state.checkRoot(root)
    try unsafe elements.withUnsafeMutableBytes { bytes throws(MPIError) in
      for start in stride(from: 0, to: bytes.count, by: state.collectiveChunkBytes) {
        let count = min(state.collectiveChunkBytes, bytes.count - start)
        try unsafe state.complete("MPI_Ibcast") { request in
          unsafe MPI_Ibcast(
            bytes.baseAddress?.advanced(by: start), CInt(count), copenmpi_byte(), CInt(root),
            state.handle.raw, request)
        }
      }
    }
  }

  /// Copies the elements of rank `root` into the array, as long on every rank.
  ///
  /// C: `MPI_Ibcast`, MPI 3.1 §5.12.2.
  public func broadcast<Element: BitwiseCopyable>(
    _ elements: inout [Element], from root: Int
  ) throws(MPIError) {
    var span = elements.mutableSpan
    try broadcast(&span, from: root)
  }

  /// The `value` of rank `root`, on all ranks.
  ///
  /// C: `MPI_Ibcast`, MPI 3.1 §5.12.2.
  public func broadcast<Element: BitwiseCopyable>(
    _ value: Element, from root: Int
  ) throws(MPIError) -> Element {
    var elements = [value]
    try broadcast(&elements, from: root)
    return elements[0]
  }

  /// The bytes of rank `root`, on all ranks, of which the others do not know how many there are.
  ///
  /// - Parameters:
  ///   - bytes: on `root` the source, elsewhere not read.
  ///   - root: the rank to copy from.
  /// - Returns: the bytes of `root`.
  /// - Throws: ``MPIError`` where MPI fails.
  /// - Complexity: two broadcasts.
  public func broadcastBytes(_ bytes: [UInt8], from root: Int) throws(MPIError) -> [UInt8] {
    let count = try broadcast(bytes.count, from: root)
    var result = rank == root ? bytes : [UInt8](repeating: 0, count: count)
    try broadcast(&result, from: root)
    return result
  }
}

extension CommunicatorState {
  func checkRoot(_ root: Int) {
    precondition(
      (0..<size).contains(root), "rank \(root) is not in a communicator of \(size) ranks")
  }
}
