internal import COpenMPI
internal import Synchronization

/// Counters in shared memory by which the ranks of a node tell each other how far they are.
///
/// ```swift
/// let counters = try SharedCounters(count: node.size, on: node)
/// produce()                                          // writes to a SharedWindow
/// counters.advance(node.rank)
/// try counters.wait(neighbour, atLeast: 1)           // now the neighbour's writes are visible
/// ```
///
/// All are 0 at first. An advance is a release and a look that finds it an acquire: whoever has
/// seen a counter's new value sees all that its rank has written before. No message is sent, and a
/// wait looks after this rank's messages meanwhile.
///
/// Dropped without ``free()`` they keep their memory, as a ``SharedWindow`` does.
@safe
public struct SharedCounters: ~Copyable {
  /// Two cache lines: processors fetch lines in pairs, and ranks that poll one must not slow the
  /// next.
  private static let strideBytes = 128

  private let window: SharedWindow
  private let communicator: CommunicatorState
  private let base: UnsafeMutableRawPointer?

  /// The number of counters.
  public let count: Int

  /// Makes `count` counters, the same ones for every rank of `node`, all 0.
  ///
  /// A collective call. Errors as those of ``SharedWindow/init(byteCount:on:)``.
  ///
  /// - Parameters:
  ///   - count: how many, the same number on every rank.
  ///   - node: ranks that can share memory, as ``Communicator/splitByNode(key:)`` gives them.
  public init(count: Int, on node: borrowing Communicator) throws(MPIError) {
    precondition(count >= 0, "there are 0 or more counters, not \(count)")
    let window = try SharedWindow(
      byteCount: node.rank == 0 ? count * Self.strideBytes : 0, on: node)
    let base = unsafe window.unsafeBytes(of: 0).baseAddress
    if node.rank == 0 {
      for index in 0..<count {
        unsafe Self.counter(index, at: base).initialize(to: Atomic(0))
      }
      try window.synchronize()
    }
    try node.barrier()
    self.window = window
    communicator = node.state
    unsafe self.base = unsafe base
    self.count = count
  }

  /// Adds `amount` to counter `index`, after all that this rank has written so far.
  public func advance(_ index: Int, by amount: Int = 1) {
    unsafe counter(index).pointee.wrappingAdd(amount, ordering: .releasing)
  }

  /// What counter `index` is now, before all that this rank will read from here on.
  public func value(_ index: Int) -> Int {
    unsafe counter(index).pointee.load(ordering: .acquiring)
  }

  /// Returns when counter `index` is at least `value`, and sees all that was written before it was.
  ///
  /// Where it is, this is one load. Where it is not, the wait moves all transfers of this process
  /// on, gives the core away, and sleeps when nothing has come for a while.
  ///
  /// - Parameters:
  ///   - index: which counter.
  ///   - value: how far it has to come.
  ///   - deadline: when to give up; nil waits forever.
  ///   - poll: called between looks, for what else is to be looked after.
  /// - Throws: ``MPIError`` of class ``MPIError/ErrorClass/timedOut`` at the deadline, and what
  ///   `poll` throws.
  public func wait(
    _ index: Int, atLeast value: Int, deadline: ContinuousClock.Instant? = nil,
    poll: () throws(MPIError) -> Void = {}
  ) throws(MPIError) {
    if self.value(index) >= value { return }
    try WaitLoop.run(
      on: communicator.session, until: deadline,
      for: "counter \(index), which is \(self.value(index)), to be \(value)", in: "MPI_Iprobe"
    ) { () throws(MPIError) in
      if self.value(index) >= value { return true }
      try communicator.progress()
      try poll()
      return false
    }
  }

  /// Frees the counters when all ranks of the node have called it.
  ///
  /// A collective call; ranks that come early sleep.
  public consuming func free() throws(MPIError) { try window.free() }

  private func counter(_ index: Int) -> UnsafeMutablePointer<Atomic<Int>> {
    precondition(index >= 0 && index < count, "there is no counter \(index) of \(count)")
    return unsafe Self.counter(index, at: base)
  }

  private static func counter(
    _ index: Int, at base: UnsafeMutableRawPointer?
  ) -> UnsafeMutablePointer<Atomic<Int>> {
    guard let base = unsafe base else { preconditionFailure("a counter has memory") }
    return unsafe (base + index * strideBytes).assumingMemoryBound(to: Atomic<Int>.self)
  }
}

extension CommunicatorState {
  /// Moves all transfers of the process on.
  ///
  /// The probe looks for a message that may be there and leaves it: of MPI's calls that name no
  /// transfer it is the cheapest that makes progress.
  ///
  /// C: `MPI_Iprobe`, MPI 3.1 §3.8.1.
  fileprivate func progress() throws(MPIError) {
    session.inbox.match()
    var isThere: CInt = 0
    try unsafe check(
      MPI_Iprobe(
        CInt(MPI_ANY_SOURCE), CInt(session.reservedTag), handle.raw, &isThere,
        copenmpi_status_ignore()), "MPI_Iprobe")
  }
}
