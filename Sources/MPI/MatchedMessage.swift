internal import COpenMPI

/// A message that has arrived, or has announced itself, and that no other receive can take.
@safe
struct MatchedMessage {
  let raw: MPI_Message?
  let byteCount: Int
  let source: Int
  let tag: Int

  /// The next message of a sequence; nil where none is there yet.
  ///
  /// C: `MPI_Improbe`, MPI 3.1 §3.8.2; `MPI_Get_count`, §3.2.5.
  static func next(
    from source: Int, tag: Int, on communicator: CommunicatorHandle
  ) throws(MPIError) -> MatchedMessage? {
    var isThere: CInt = 0
    var raw: MPI_Message?
    var status = MPI_Status()
    try unsafe check(
      MPI_Improbe(CInt(source), CInt(tag), communicator.raw, &isThere, &raw, &status),
      "MPI_Improbe")
    if isThere == 0 { return nil }
    var count: CInt = 0
    try unsafe check(MPI_Get_count(&status, copenmpi_byte(), &count), "MPI_Get_count")
    return unsafe MatchedMessage(raw: raw, byteCount: Int(count), source: source, tag: tag)
  }

  /// What is wrong with a message of another size than its receive.
  func sizeError(expected: Int) -> MPIError {
    MPIError(
      byteCount > expected ? .truncate : .short, function: "MPI_Improbe",
      "a message of \(byteCount) bytes from rank \(source), tag \(tag), "
        + "where \(expected) bytes were expected")
  }
}
