internal import COpenMPI

extension Communicator {
  /// Combines on each rank the elements of all ranks below it, index by index, in place.
  ///
  /// Rank r gets e₀ ∘ e₁ ∘ … ∘ eᵣ₋₁. MPI leaves rank 0 without a result; here it gets `identity`.
  /// Sizes and operator as in ``allReduce(_:with:)-(MutableSpan<Element>,_)``.
  ///
  /// - Parameters:
  ///   - elements: this rank's part before, the result of the lower ranks after.
  ///   - operation: how a lower and an upper rank combine.
  ///   - identity: the operator's neutral record, of `operation.elementsPerRecord` elements.
  /// - Throws: ``MPIError`` where MPI fails.
  /// - Complexity: O(log ``size``) messages a rank.
  ///
  /// C: `MPI_Iexscan` with `MPI_IN_PLACE`, MPI 3.1 §5.12.12.
  public func exclusiveScan<Element: BitwiseCopyable>(
    _ elements: inout MutableSpan<Element>, with operation: borrowing ReductionOperator<Element>,
    identity: Span<Element>
  ) throws(MPIError) {
    precondition(
      identity.count == operation.elementsPerRecord,
      "the identity is one record of \(operation.elementsPerRecord) elements")
    let (op, type) = (operation.handle, operation.datatype)
    try unsafe state.forEachPiece(of: &elements, with: operation) {
      piece, records throws(MPIError) in
      try unsafe state.complete("MPI_Iexscan") { request in
        unsafe MPI_Iexscan(
          copenmpi_in_place(), piece, records, type.raw, op.raw, state.handle.raw, request)
      }
    }
    guard rank == 0 else { return }
    for index in elements.indices { elements[index] = identity[index % identity.count] }
  }

  /// The values of all ranks below this one combined, `identity` on rank 0.
  ///
  /// C: `MPI_Iexscan`, MPI 3.1 §5.12.12.
  public func exclusiveScan<Element: BitwiseCopyable>(
    _ value: Element, with operation: borrowing ReductionOperator<Element>, identity: Element
  ) throws(MPIError) -> Element {
    var elements = [value]
    var span = elements.mutableSpan
    try exclusiveScan(&span, with: operation, identity: [identity].span)
    return elements[0]
  }

  /// Combines on each rank the arrays of all ranks below it, in place; records of `identity` on
  /// rank 0.
  ///
  /// C: `MPI_Iexscan`, MPI 3.1 §5.12.12.
  public func exclusiveScan<Element: BitwiseCopyable>(
    _ elements: inout [Element], with operation: borrowing ReductionOperator<Element>,
    identity: [Element]
  ) throws(MPIError) {
    var span = elements.mutableSpan
    try exclusiveScan(&span, with: operation, identity: identity.span)
  }
}
