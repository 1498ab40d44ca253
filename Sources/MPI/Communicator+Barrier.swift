internal import COpenMPI

extension Communicator {
  /// Returns when all ranks have called it.
  ///
  /// Ranks that come early sleep.
  ///
  /// - Parameter deadline: when to give up; nil waits forever. A barrier that was given up stays
  ///   open: the communicator is of no more use for collectives.
  /// - Throws: ``MPIError``, at the deadline of class ``MPIError/ErrorClass/timedOut``.
  /// - Complexity: O(log ``size``) empty messages a rank.
  ///
  /// C: `MPI_Ibarrier`, MPI 3.1 §5.12.1.
  public func barrier(deadline: ContinuousClock.Instant? = nil) throws(MPIError) {
    try unsafe state.complete("MPI_Ibarrier", until: deadline) { request in
      unsafe MPI_Ibarrier(state.handle.raw, request)
    }
  }
}

extension CommunicatorState {
  /// Starts a nonblocking collective and waits for it in the way of ``WaitLoop``.
  func complete(
    _ function: String, until deadline: ContinuousClock.Instant? = nil,
    start: (UnsafeMutablePointer<MPI_Request?>) -> CInt
  ) throws(MPIError) {
    var request: MPI_Request?
    try unsafe check(start(&request), function)
    try WaitLoop.run(on: session, until: deadline, for: "\(function) of \(size) ranks") {
      () throws(MPIError) in
      session.inbox.match()
      var isDone: CInt = 0
      try unsafe check(MPI_Test(&request, &isDone, copenmpi_status_ignore()), function)
      return isDone != 0
    }
  }
}
