internal import COpenMPI
internal import Synchronization

/// The bridge from MPI's C callbacks to Swift closures.
///
/// MPI calls a plain function with two addresses and a count, and nothing by which it could know
/// its operator. Each own operator therefore takes one of a fixed set of functions, and each of
/// these knows its place in a table of closures.
enum ReductionCallbacks {
  /// Combines the records at the first address into those at the second.
  typealias Combine = @Sendable (UnsafeMutableRawPointer, UnsafeMutableRawPointer, Int) -> Void

  /// How many own operators can be alive at a time.
  static var capacity: Int { unsafe functions.count }

  private static let table = unsafe Mutex<[Combine?]>(Array(repeating: nil, count: capacity))

  /// Takes a free slot for `combine`.
  static func add(_ combine: @escaping Combine) throws(MPIError) -> Int {
    let slot: Int? = unsafe table.withLock { table in
      guard let free = unsafe table.firstIndex(where: { unsafe $0 == nil }) else { return nil }
      unsafe table[free] = combine
      return free
    }
    guard let slot else {
      throw MPIError(
        .operatorSlots, function: "MPI_Op_create",
        "\(capacity) own reduction operators are alive, and that is the most there can be")
    }
    return slot
  }

  static func remove(_ slot: Int) {
    unsafe table.withLock { unsafe $0[slot] = nil }
  }

  static func function(of slot: Int) -> Function { unsafe functions[slot] }

  /// Called by MPI through the function of `slot`.
  ///
  /// Without a closure or an address there is nothing to combine: MPI calls an operator only while
  /// it is alive.
  fileprivate static func call(
    _ slot: Int, _ lower: UnsafeMutableRawPointer?, _ upper: UnsafeMutableRawPointer?,
    _ records: UnsafeMutablePointer<CInt>?
  ) {
    let combine = unsafe table.withLock { unsafe $0[slot] }
    guard let combine = unsafe combine, let lower = unsafe lower, let upper = unsafe upper,
      let records = unsafe records
    else { return }
    unsafe combine(lower, upper, Int(records.pointee))
  }

  typealias Function =
    @Sendable @convention(c) (
      UnsafeMutableRawPointer?, UnsafeMutableRawPointer?, UnsafeMutablePointer<CInt>?,
      UnsafeMutablePointer<MPI_Datatype?>?
    ) -> Void

  private static let functions: [Function] = unsafe [
    { a, b, n, _ in unsafe call(0, a, b, n) }, { a, b, n, _ in unsafe call(1, a, b, n) },
    { a, b, n, _ in unsafe call(2, a, b, n) }, { a, b, n, _ in unsafe call(3, a, b, n) },
    { a, b, n, _ in unsafe call(4, a, b, n) }, { a, b, n, _ in unsafe call(5, a, b, n) },
    { a, b, n, _ in unsafe call(6, a, b, n) }, { a, b, n, _ in unsafe call(7, a, b, n) },
    { a, b, n, _ in unsafe call(8, a, b, n) }, { a, b, n, _ in unsafe call(9, a, b, n) },
    { a, b, n, _ in unsafe call(10, a, b, n) }, { a, b, n, _ in unsafe call(11, a, b, n) },
    { a, b, n, _ in unsafe call(12, a, b, n) }, { a, b, n, _ in unsafe call(13, a, b, n) },
    { a, b, n, _ in unsafe call(14, a, b, n) }, { a, b, n, _ in unsafe call(15, a, b, n) },
  ]
}
