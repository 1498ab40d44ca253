internal import COpenMPI

extension Communicator {
  /// Combines the elements of all ranks, index by index, in place on every rank.
  ///
  /// Every rank passes the same number of elements and the same operator. More than 1 GiB goes in
  /// several calls, never splitting a record of the operator.
  ///
  /// - Parameters:
  ///   - elements: this rank's part before, the result of all ranks after.
  ///   - operation: how two ranks combine.
  /// - Throws: ``MPIError`` where MPI fails.
  /// - Complexity: O(log ``size``) messages a rank.
  ///
  /// C: `MPI_Iallreduce` with `MPI_IN_PLACE`, MPI 3.1 §5.12.8.
  public func allReduce<Element: BitwiseCopyable>(
    _ elements: inout MutableSpan<Element>, with operation: borrowing ReductionOperator<Element>
  ) throws(MPIError) {
    let (op, type) = (operation.handle, operation.datatype)
    try unsafe state.forEachPiece(of: &elements, with: operation) {
      piece, records throws(MPIError) in
      try unsafe state.complete("MPI_Iallreduce") { request in
        unsafe MPI_Iallreduce(
          copenmpi_in_place(), piece, records, type.raw, op.raw, state.handle.raw, request)
      }
    }
  }

  /// Combines the arrays of all ranks, as long on every rank, in place on every rank.
  ///
  /// C: `MPI_Iallreduce`, MPI 3.1 §5.12.8.
  public func allReduce<Element: BitwiseCopyable>(
    _ elements: inout [Element], with operation: borrowing ReductionOperator<Element>
  ) throws(MPIError) {
    var span = elements.mutableSpan
    try allReduce(&span, with: operation)
  }

  /// The values of all ranks combined, on every rank.
  ///
  /// C: `MPI_Iallreduce`, MPI 3.1 §5.12.8.
  public func allReduce<Element: BitwiseCopyable>(
    _ value: Element, with operation: borrowing ReductionOperator<Element>
  ) throws(MPIError) -> Element {
    var elements = [value]
    try allReduce(&elements, with: operation)
    return elements[0]
  }

  /// Combines the elements of all ranks, index by index, in place on rank `root`.
  ///
  /// The other ranks' elements stay as they are. Sizes and operator as in
  /// ``allReduce(_:with:)-(MutableSpan<Element>,_)``.
  ///
  /// - Parameters:
  ///   - elements: this rank's part before; on `root` the result of all ranks after.
  ///   - operation: how two ranks combine.
  ///   - root: the rank that gets the result.
  /// - Throws: ``MPIError`` where MPI fails.
  /// - Complexity: O(log ``size``) messages a rank.
  ///
  /// C: `MPI_Ireduce`, MPI 3.1 §5.12.7.
  public func reduce<Element: BitwiseCopyable>(
    _ elements: inout MutableSpan<Element>, with operation: borrowing ReductionOperator<Element>,
    to root: Int
  ) throws(MPIError) {
    state.checkRoot(root)
    let (op, type) = (operation.handle, operation.datatype)
    let isRoot = rank == root
    try unsafe state.forEachPiece(of: &elements, with: operation) {
      piece, records throws(MPIError) in
      try unsafe state.complete("MPI_Ireduce") { request in
        unsafe MPI_Ireduce(
          isRoot ? copenmpi_in_place() : piece, isRoot ? piece : nil, records, type.raw, op.raw,
          CInt(root), state.handle.raw, request)
      }
    }
  }

  /// Combines the arrays of all ranks, as long on every rank, in place on rank `root`.
  ///
  /// C: `MPI_Ireduce`, MPI 3.1 §5.12.7.
  public func reduce<Element: BitwiseCopyable>(
    _ elements: inout [Element], with operation: borrowing ReductionOperator<Element>,
    to root: Int
  ) throws(MPIError) {
    var span = elements.mutableSpan
    try reduce(&span, with: operation, to: root)
  }

  /// The values of all ranks combined on rank `root`, nil on the others.
  ///
  /// C: `MPI_Ireduce`, MPI 3.1 §5.12.7.
  public func reduce<Element: BitwiseCopyable>(
    _ value: Element, with operation: borrowing ReductionOperator<Element>, to root: Int
  ) throws(MPIError) -> Element? {
    var elements = [value]
    try reduce(&elements, with: operation, to: root)
    return rank == root ? elements[0] : nil
  }
}

extension CommunicatorState {
  /// Calls `body` with consecutive pieces of whole records, each within the limit of one call.
  func forEachPiece<Element: BitwiseCopyable>(
    of elements: inout MutableSpan<Element>,
    with operation: borrowing ReductionOperator<Element>,
    _ body: (_ piece: UnsafeMutableRawPointer?, _ records: CInt) throws(MPIError) -> Void
  ) throws(MPIError) {
    let width = operation.elementsPerRecord
    precondition(
      elements.count.isMultiple(of: width),
      "\(elements.count) elements are no whole records of \(width)")
    let records = elements.count / width
    let recordBytes = width * MemoryLayout<Element>.stride
    let most = max(collectiveChunkBytes / recordBytes, 1)
    try unsafe elements.withUnsafeMutableBytes { bytes throws(MPIError) in
      for first in stride(from: 0, to: records, by: most) {
        try unsafe body(
          bytes.baseAddress?.advanced(by: first * recordBytes), CInt(min(most, records - first)))
      }
    }
  }
}
