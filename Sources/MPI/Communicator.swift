internal import COpenMPI

/// A group of ranks that exchange messages apart from those of all other groups.
///
/// The world comes from ``withMPI(threadLevel:failureGrace:_:)``; smaller groups are split off it.
/// A communicator is passed as `borrowing`; the end of its life, and of all transfers on it, frees
/// it. It is not `Sendable`: all calls are made on the thread that initialized MPI.
///
/// Ranks and tags out of range are a mistake in the program and stop it, as an array index does.
///
/// C: `MPI_Comm`, MPI 3.1 §6.4.
@safe
public struct Communicator: ~Copyable {
  let state: CommunicatorState

  init(_ state: CommunicatorState) { self.state = state }

  /// The same communicator once more, for a type that keeps what it was lent: messages of both
  /// meet.
  package func shared() -> Communicator { Communicator(state) }

  /// This process's number within the group, from 0 to ``size`` − 1.
  ///
  /// C: `MPI_Comm_rank`, MPI 3.1 §6.4.1.
  public var rank: Int { state.rank }

  /// The number of ranks of the group.
  ///
  /// C: `MPI_Comm_size`, MPI 3.1 §6.4.1.
  public var size: Int { state.size }

  /// Point-to-point messages of this communicator on this rank so far.
  public var traffic: Traffic { state.traffic }

  /// The largest tag that a message may have; the smallest is 0.
  ///
  /// It is at least 32 766. C: `MPI_TAG_UB`, MPI 3.1 §8.1.2; one tag is kept for collectives.
  public var largestTag: Int { state.session.reservedTag - 1 }

  /// The most bytes that one collective call of MPI is given: the tests set it low, to cut small
  /// data as only huge data would be.
  package var collectiveChunkBytes: Int {
    get { state.collectiveChunkBytes }
    nonmutating set { state.collectiveChunkBytes = newValue }
  }

  /// Ends all ranks of the job at once, with `code` as the exit code of mpirun.
  ///
  /// C: `MPI_Abort`, MPI 3.1 §8.7.
  public func abort(code: Int = 1) -> Never {
    stopProgram("the program aborts with code \(code)", exitCode: CInt(truncatingIfNeeded: code))
  }
}

/// What a communicator's calls work on: the handle, and the counts that grow while it is borrowed.
final class CommunicatorState {
  let handle: CommunicatorHandle
  let rank: Int
  let size: Int
  let session: Session
  var traffic = Traffic.zero
  var collectiveChunkBytes = Communicator.largestChunkBytes
  private let isOwned: Bool

  init(_ handle: CommunicatorHandle, isOwned: Bool, session: Session) throws(MPIError) {
    self.handle = handle
    (rank, size) = try handle.rankAndSize()
    self.isOwned = isOwned
    self.session = session
  }

  /// Frees a communicator that was made by this module.
  ///
  /// C: `MPI_Comm_free`, MPI 3.1 §6.4.3.
  deinit {
    // One that outlives `withMPI` was freed by MPI_Finalize.
    guard isOwned, MPIEnvironment.isRunning else { return }
    var raw = unsafe handle.raw
    unsafe MPI_Comm_free(&raw)
  }
}

extension CommunicatorHandle {
  func rankAndSize() throws(MPIError) -> (rank: Int, size: Int) {
    var rank: CInt = 0
    var size: CInt = 0
    try unsafe check(MPI_Comm_rank(raw, &rank), "MPI_Comm_rank")
    try unsafe check(MPI_Comm_size(raw, &size), "MPI_Comm_size")
    return (Int(rank), Int(size))
  }

  /// MPI's upper bound of tags, which it keeps as an attribute of the world.
  func largestTag() throws(MPIError) -> Int {
    var value: UnsafeMutablePointer<CInt>?
    var isSet: CInt = 0
    try unsafe check(
      MPI_Comm_get_attr(raw, CInt(MPI_TAG_UB), &value, &isSet), "MPI_Comm_get_attr")
    // The standard's own minimum, should the attribute be missing.
    guard isSet != 0, let value = unsafe value else { return 32_767 }
    return unsafe Int(value.pointee)
  }
}
