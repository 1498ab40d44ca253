internal import COpenMPI

extension Communicator {
  /// Divides the group: ranks that give the same color form a new communicator.
  ///
  /// A collective call: every rank makes it. Messages of the new communicator never meet those of
  /// this one, and its ``traffic`` starts at zero.
  ///
  /// - Parameters:
  ///   - color: which new group to join, 0 or more; nil to join none.
  ///   - key: ranks of a new group are numbered by ascending key, and by rank where keys are equal.
  /// - Returns: the new communicator, nil where `color` is nil.
  /// - Throws: ``MPIError`` where MPI fails.
  /// - Complexity: one allgather of two integers over ``size`` ranks.
  ///
  /// C: `MPI_Comm_split`, MPI 3.1 §6.4.2.
  public func split(color: Int?, key: Int = 0) throws(MPIError) -> Communicator? {
    precondition((color ?? 0) >= 0, "a color is 0 or more, or nil")
    var new: MPI_Comm?
    try unsafe check(
      MPI_Comm_split(
        state.handle.raw, color.map(CInt.init) ?? CInt(MPI_UNDEFINED), CInt(key), &new),
      "MPI_Comm_split")
    guard unsafe new != copenmpi_comm_null() else { return nil }
    return try unsafe adopt(new)
  }

  /// Divides the group by machine: ranks that can share memory form a new communicator.
  ///
  /// A collective call. `key` orders the ranks as in ``split(color:key:)``.
  ///
  /// C: `MPI_Comm_split_type` with `MPI_COMM_TYPE_SHARED`, MPI 3.1 §6.4.2.
  public func splitByNode(key: Int = 0) throws(MPIError) -> Communicator {
    var new: MPI_Comm?
    try unsafe check(
      MPI_Comm_split_type(
        state.handle.raw, CInt(MPI_COMM_TYPE_SHARED), CInt(key), copenmpi_info_null(), &new),
      "MPI_Comm_split_type")
    return try unsafe adopt(new)
  }

  /// A communicator with the same ranks, whose messages never meet those of this one.
  ///
  /// A collective call. A library that is given a communicator duplicates it, and is then free to
  /// use any tag.
  ///
  /// C: `MPI_Comm_dup`, MPI 3.1 §6.4.2.
  public func duplicate() throws(MPIError) -> Communicator {
    var new: MPI_Comm?
    try unsafe check(MPI_Comm_dup(state.handle.raw, &new), "MPI_Comm_dup")
    return try unsafe adopt(new)
  }

  private func adopt(_ raw: MPI_Comm?) throws(MPIError) -> Communicator {
    let new = try unsafe CommunicatorState(
      CommunicatorHandle(raw), isOwned: true, session: state.session)
    new.collectiveChunkBytes = state.collectiveChunkBytes
    return Communicator(new)
  }
}
