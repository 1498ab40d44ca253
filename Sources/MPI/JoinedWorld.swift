internal import COpenMPI

/// All ranks of the job, for a program that does not run inside
/// ``withMPI(threadLevel:failureGrace:_:)``: a library in a process that somebody else has started,
/// and in which somebody else may have initialized MPI.
///
/// Where MPI is initialized already it stays as it is found: calls are made on a duplicate of the
/// world, whose errors return as ``MPIError``, and it is not finalized here. Who initializes MPI
/// later in this process, as `mpi4py` does, finds that it is.
///
/// C: `MPI_Initialized`, `MPI_Init_thread`, `MPI_Query_thread` (MPI 3.1 §8.7, §12.4.3),
/// `MPI_Comm_dup` (§6.4.2), `MPI_Finalize` (§8.7).
public final class JoinedWorld {
  /// All ranks.
  public let communicator: Communicator
  /// Whether MPI was initialized here, and so is to be finalized here.
  public let isInitializer: Bool

  /// Joins the job, called by all ranks together.
  ///
  /// - Parameter threadLevel: which threads may call MPI.
  /// - Throws: an ``MPIError`` if MPI has been finalized, or provides less than `threadLevel`.
  public init(threadLevel: ThreadLevel = .serialized) throws(MPIError) {
    var initialized: CInt = 0
    try unsafe check(MPI_Initialized(&initialized), "MPI_Initialized")
    guard initialized != 0 else {
      communicator = try makeWorld(threadLevel: threadLevel)
      isInitializer = true
      return
    }
    guard MPIEnvironment.isRunning else {
      throw MPIError(
        .alreadyInitialized, function: "MPI_Init_thread",
        "MPI has been finalized, and can be initialized only once in a process")
    }
    var provided: CInt = 0
    try unsafe check(MPI_Query_thread(&provided), "MPI_Query_thread")
    guard provided >= threadLevel.constant else {
      let available = ThreadLevel(constant: provided).map { "\($0)" } ?? "\(provided)"
      throw MPIError(
        .threadLevel, function: "MPI_Query_thread",
        "the program requires thread level \(threadLevel), and MPI was initialized with "
          + "\(available)")
    }
    var copy: MPI_Comm?
    try unsafe check(MPI_Comm_dup(copenmpi_comm_world(), &copy), "MPI_Comm_dup")
    let handle = unsafe CommunicatorHandle(copy)
    try unsafe check(
      MPI_Comm_set_errhandler(handle.raw, copenmpi_errors_return()), "MPI_Comm_set_errhandler")
    // The attribute is one of the world.
    let world = unsafe CommunicatorHandle(copenmpi_comm_world())
    let session = Session(reservedTag: try world.largestTag())
    communicator = Communicator(
      try CommunicatorState(handle, isOwned: true, session: session))
    isInitializer = false
  }

  /// Leaves the job, called by all ranks together when nothing is in flight any more; the
  /// communicator is not used after it.
  ///
  /// - Parameter grace: how long others are waited for; nil is as long as it takes. Where they have
  ///   not come by then the job is ended with the sentence.
  public func leave(within grace: Duration?, or sentence: String) throws(MPIError) {
    do {
      try communicator.barrier(deadline: grace.map { .now + $0 })
    } catch {
      stopProgram("\(sentence); the ranks that still work, or wait for this one, are ended with it")
    }
    try communicator.state.session.owned.finish(within: grace ?? .seconds(2))
    if isInitializer { try finalize() }
  }

  /// Says a sentence on standard error, with this rank's number, and ends all ranks.
  public static func end(_ sentence: String, code: Int) -> Never {
    stopProgram(sentence, exitCode: CInt(truncatingIfNeeded: code))
  }
}
