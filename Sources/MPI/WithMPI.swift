internal import COpenMPI

/// Initializes MPI, runs `body` with the communicator of all ranks, and finalizes MPI.
///
/// ```swift
/// try withMPI { world in
///   print("rank \(world.rank) of \(world.size)")
/// }
/// ```
///
/// Errors of MPI calls return as ``MPIError`` on the world and on every communicator made from it,
/// instead of ending the job. At the end the ranks wait for each other before MPI is finalized;
/// the wait sleeps, so that ranks which finish early leave their cores to the others.
///
/// Where `body` throws, this rank waits `failureGrace` for the others to end too. If they do,
/// as when all have agreed on an error, MPI is finalized and the error is rethrown on each.
/// If they do not, they may be waiting for messages that will never come: the error is told on
/// standard error with this rank's number, and the whole job is ended with exit code 1.
///
/// - Parameters:
///   - threadLevel: which threads may call MPI; a ``Communicator`` is not `Sendable`, so that
///     `.funneled` holds by itself.
///   - failureGrace: how long a rank whose body threw waits for the others.
///   - body: the program; it borrows the world.
/// - Returns: what `body` returns.
/// - Throws: what `body` throws, or an ``MPIError`` if MPI was initialized before in this process,
///   or provides less than `threadLevel`.
///
/// C: `MPI_Init_thread` (MPI 3.1 §12.4.3), `MPI_Comm_set_errhandler` (§8.3), `MPI_Ibarrier`
/// (§5.12.1), `MPI_Finalize` (§8.7).
public func withMPI<Result>(
  threadLevel: ThreadLevel = .funneled,
  failureGrace: Duration = .seconds(2),
  _ body: (borrowing Communicator) throws -> Result
) throws -> Result {
  let world = try makeWorld(threadLevel: threadLevel)
  let result: Result
  do {
    result = try body(world)
  } catch {
    try end(world, after: error, grace: failureGrace)
    throw error
  }
  try world.barrier()
  try world.state.session.owned.finish(within: failureGrace)
  try finalize()
  return result
}

func makeWorld(threadLevel: ThreadLevel) throws(MPIError) -> Communicator {
  var initialized: CInt = 0
  try unsafe check(MPI_Initialized(&initialized), "MPI_Initialized")
  guard initialized == 0 else {
    throw MPIError(
      .alreadyInitialized, function: "MPI_Init_thread",
      "MPI can be initialized only once in a process")
  }
  LibraryDefaults.apply()
  var provided: CInt = 0
  try unsafe check(
    MPI_Init_thread(nil, nil, threadLevel.constant, &provided), "MPI_Init_thread")
  let handle = unsafe CommunicatorHandle(copenmpi_comm_world())
  try unsafe check(
    MPI_Comm_set_errhandler(handle.raw, copenmpi_errors_return()), "MPI_Comm_set_errhandler")
  guard provided >= threadLevel.constant else {
    try finalize()
    let available = ThreadLevel(constant: provided).map { "\($0)" } ?? "\(provided)"
    throw MPIError(
      .threadLevel, function: "MPI_Init_thread",
      "the program requires thread level \(threadLevel), this MPI library provides \(available)")
  }
  let session = Session(reservedTag: try handle.largestTag())
  return Communicator(try CommunicatorState(handle, isOwned: false, session: session))
}

/// Finalizes if all ranks come to their end within the grace; ends the job otherwise.
private func end(
  _ world: borrowing Communicator, after failure: any Error, grace: Duration
) throws {
  do {
    try world.barrier(deadline: .now + grace)
  } catch {
    stopProgram("\(failure); the ranks that still work, or wait for this one, are ended with it")
  }
  try finalize()
}

func finalize() throws(MPIError) {
  SegmentNames.restore()
  try check(MPI_Finalize(), "MPI_Finalize")
}
