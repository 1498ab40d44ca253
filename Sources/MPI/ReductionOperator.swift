internal import COpenMPI

/// How a reduction or scan combines the values of two ranks: built in, or written in Swift.
///
/// The built-in ones are static members: `.sum`, `.min`. An own operator combines records of one or
/// more elements, and must be associative:
///
/// ```swift
/// // Affine maps x ↦ a·x + b, the map of the lower rank applied first.
/// let compose = try ReductionOperator<Double>(commutes: false, elementsPerRecord: 2) {
///   lower, upper in
///   for map in stride(from: 0, to: lower.count, by: 2) {
///     upper[map + 1] += upper[map] * lower[map + 1]
///     upper[map] *= lower[map]
///   }
/// }
/// ```
///
/// C: `MPI_Op`, MPI 3.1 §5.9.
@safe
public struct ReductionOperator<Element: BitwiseCopyable>: ~Copyable {
  let handle: OperatorHandle
  let datatype: DatatypeHandle
  /// The callback slot of an own operator, nil for a built-in one.
  private let slot: Int?

  /// The elements that are combined as one, and never split between two calls.
  public let elementsPerRecord: Int

  /// An operator written in Swift.
  ///
  /// - Parameters:
  ///   - commutes: whether the order of the ranks does not matter; where it does, MPI keeps it.
  ///   - elementsPerRecord: the elements of one record; every span has a multiple of it.
  ///   - combine: sets `upper` to `lower` ∘ `upper`, record by record; `lower` comes from the lower
  ///     ranks. Both have the same number of elements. It runs inside a collective call on the
  ///     thread that makes it, and must not call MPI.
  /// - Throws: ``MPIError`` of class ``MPIError/ErrorClass/operatorSlots`` where 16 own operators
  ///   are alive, since C's callbacks capture nothing and each needs a function of its own.
  ///
  /// C: `MPI_Op_create`, MPI 3.1 §5.9.5; `MPI_Type_contiguous`, `MPI_Type_commit`, §4.1.
  public init(
    commutes: Bool, elementsPerRecord: Int = 1,
    combine:
      @escaping @Sendable (_ lower: Span<Element>, _ upper: inout MutableSpan<Element>) ->
      Void
  ) throws(MPIError) {
    precondition(elementsPerRecord > 0, "a record has at least one element")
    precondition(
      MemoryLayout<Element>.alignment <= 16, "MPI's own buffers are aligned to 16 bytes, not more")
    let slot = try unsafe ReductionCallbacks.add { lower, upper, records in
      let count = records * elementsPerRecord
      let lowerSpan = unsafe Span<Element>(
        _unsafeStart: lower.assumingMemoryBound(to: Element.self), count: count)
      var upperSpan = unsafe MutableSpan<Element>(
        _unsafeStart: upper.assumingMemoryBound(to: Element.self), count: count)
      combine(lowerSpan, &upperSpan)
    }
    let registered: (type: DatatypeHandle, op: OperatorHandle)
    do throws(MPIError) {
      registered = try Self.register(
        slot, recordBytes: elementsPerRecord * MemoryLayout<Element>.stride, commutes: commutes)
    } catch {
      ReductionCallbacks.remove(slot)
      throw error
    }
    datatype = registered.type
    handle = registered.op
    self.slot = slot
    self.elementsPerRecord = elementsPerRecord
  }

  private static func register(
    _ slot: Int, recordBytes: Int, commutes: Bool
  ) throws(MPIError) -> (type: DatatypeHandle, op: OperatorHandle) {
    var type: MPI_Datatype?
    try unsafe check(
      MPI_Type_contiguous(CInt(recordBytes), copenmpi_byte(), &type), "MPI_Type_contiguous")
    try unsafe check(MPI_Type_commit(&type), "MPI_Type_commit")
    var op: MPI_Op?
    try unsafe check(
      MPI_Op_create(ReductionCallbacks.function(of: slot), commutes ? 1 : 0, &op),
      "MPI_Op_create")
    return unsafe (DatatypeHandle(type), OperatorHandle(op))
  }

  /// A built-in operator on MPI's own element type.
  init(builtIn handle: OperatorHandle) where Element: MPIScalar {
    self.handle = handle
    datatype = Element.scalarType.datatype
    slot = nil
    elementsPerRecord = 1
  }

  deinit {
    guard let slot else { return }
    if MPIEnvironment.isRunning {
      var op = unsafe handle.raw
      var type = unsafe datatype.raw
      unsafe MPI_Op_free(&op)
      unsafe MPI_Type_free(&type)
    }
    ReductionCallbacks.remove(slot)
  }
}
