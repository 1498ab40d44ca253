internal import COpenMPI
internal import Glibc

/// The MPI requests of one or more messages in flight, and the guard of their memory.
///
/// Dropping the set while MPI still uses the memory stops the program: the memory is about to be
/// freed under MPI's hands. The set has room for a fixed number of requests, so that polling never
/// allocates.
@safe
final class RequestSet {
  /// The most requests that one poll looks at: the oldest. A poll of a huge message in small chunks
  /// stays as cheap as any other; MPI itself moves all of them on in each call.
  private static let window = 32

  private let capacity: Int
  private let requests: UnsafeMutablePointer<MPI_Request?>
  /// The bytes that a receive expects, −1 for a send.
  private let expectedBytes: UnsafeMutablePointer<CInt>
  /// Where `MPI_Testsome` tells which requests of the window are done, and how.
  private let indices: UnsafeMutablePointer<CInt>
  private let statuses: UnsafeMutablePointer<MPI_Status>

  /// All requests before this one are done.
  private var oldest = 0
  private var posted = 0
  private var active = 0
  private var failure: MPIError?
  /// Whether the memory is known to stay alive for good, though MPI may still use it.
  private var isLeaked = false

  init(capacity: Int) {
    self.capacity = capacity
    let slots = min(capacity, Self.window)
    unsafe requests = .allocate(capacity: max(capacity, 1))
    unsafe expectedBytes = .allocate(capacity: max(capacity, 1))
    unsafe indices = .allocate(capacity: max(slots, 1))
    unsafe statuses = .allocate(capacity: max(slots, 1))
    unsafe statuses.initialize(repeating: MPI_Status(), count: slots)
  }

  deinit {
    if active > 0 && !isLeaked {
      let earlier = MPIError.latest.map { "; the latest error before: \($0)" } ?? ""
      stopProgram(
        "a transfer was dropped before it was finished: wait for it, or test it until true\(earlier)")
    }
    unsafe requests.deallocate()
    unsafe expectedBytes.deallocate()
    unsafe indices.deallocate()
    unsafe statuses.deallocate()
  }

  /// Whether MPI no longer uses the memory of any message.
  var isFinished: Bool { active == 0 }

  /// The messages in all, and those that are done.
  var progress: (done: Int, all: Int) { (posted - active, posted) }

  // MARK: Posting

  /// Starts the send of one chunk, which stays where it is until the set is finished.
  ///
  /// C: `MPI_Isend`, MPI 3.1 §3.7.2.
  func postSend(
    _ bytes: UnsafeRawBufferPointer, to destination: Int, tag: Int, on handle: CommunicatorHandle
  ) throws(MPIError) {
    precondition(posted < capacity)
    try unsafe check(
      MPI_Isend(
        bytes.baseAddress, CInt(bytes.count), copenmpi_byte(), CInt(destination), CInt(tag),
        handle.raw, requests + posted), "MPI_Isend")
    add(expecting: -1)
  }

  /// Starts the receive of one chunk.
  ///
  /// C: `MPI_Irecv`, MPI 3.1 §3.7.2.
  func postReceive(
    _ bytes: UnsafeMutableRawBufferPointer, from source: Int, tag: Int,
    on handle: CommunicatorHandle
  ) throws(MPIError) {
    precondition(posted < capacity)
    try unsafe check(
      MPI_Irecv(
        bytes.baseAddress, CInt(bytes.count), copenmpi_byte(), CInt(source), CInt(tag),
        handle.raw, requests + posted), "MPI_Irecv")
    add(expecting: CInt(bytes.count))
  }

  private func add(expecting bytes: CInt) {
    unsafe (expectedBytes + posted).initialize(to: bytes)
    posted += 1
    active += 1
  }

  // MARK: Completion

  /// Moves all messages on, without blocking; throws the first failure.
  ///
  /// C: `MPI_Testsome`, MPI 3.1 §3.7.5.
  func poll() throws(MPIError) -> WaitLoop.Progress {
    let before = active
    if failure == nil { reap(checkingLengths: true) }
    if let failure { throw failure }
    if active == 0 { return .finished }
    return active < before ? .some : .none
  }

  /// Waits for all messages, in the way of ``WaitLoop``.
  func wait(
    until deadline: ContinuousClock.Instant?, for what: @autoclosure () -> String
  ) throws(MPIError) {
    try WaitLoop.run(until: deadline, for: what()) { () throws(MPIError) in try poll() }
  }

  /// After a failure: takes back the receives that no message has met yet.
  ///
  /// Answers whether MPI has let go of all memory. Sends, and receives whose message is on its way,
  /// cannot be taken back.
  ///
  /// C: `MPI_Cancel`, MPI 3.1 §3.8.4.
  func cancel() -> Bool {
    for index in oldest..<posted where unsafe requests[index] != copenmpi_request_null() {
      if unsafe expectedBytes[index] >= 0 { unsafe MPI_Cancel(requests + index) }
    }
    while active > 0 {
      let before = active
      reap(checkingLengths: false)
      if active == before { break }
    }
    return active == 0
  }

  /// After a failure: returns only when MPI has let go of all memory, which the caller owns.
  ///
  /// What cannot be taken back is waited for: its other side is on its way.
  func settle() {
    while !cancel() { usleep(50) }
  }

  /// Declares that the memory stays allocated for good, so that the set may be dropped.
  func leak() { isLeaked = true }

  /// Notes which of the oldest requests are done, until a round finds none.
  private func reap(checkingLengths: Bool) {
    while active > 0 {
      while unsafe requests[oldest] == copenmpi_request_null() { oldest += 1 }
      var done: CInt = 0
      let code = unsafe MPI_Testsome(
        CInt(min(posted - oldest, Self.window)), requests + oldest, &done, indices, statuses)
      guard code == MPI_SUCCESS || code == MPI_ERR_IN_STATUS else {
        failure = MPIError(code: code, function: "MPI_Testsome")
        return
      }
      if done <= 0 { return }
      active -= Int(done)
      for slot in 0..<Int(done) where checkingLengths && failure == nil {
        failure = unsafe verdict(
          on: statuses[slot], expected: expectedBytes[oldest + Int(indices[slot])],
          hasOwnCode: code == MPI_ERR_IN_STATUS)
      }
    }
  }

  /// What is wrong with a finished request, if anything.
  ///
  /// C: `MPI_Get_count`, MPI 3.1 §3.2.5.
  private func verdict(
    on status: MPI_Status, expected: CInt, hasOwnCode: Bool
  ) -> MPIError? {
    let function = expected < 0 ? "MPI_Isend" : "MPI_Irecv"
    // The status has a code of its own only where the call as a whole said so.
    if hasOwnCode, status.MPI_ERROR != MPI_SUCCESS {
      return MPIError(code: status.MPI_ERROR, function: function)
    }
    guard expected >= 0 else { return nil }
    var status = status
    var received: CInt = 0
    let code = unsafe MPI_Get_count(&status, copenmpi_byte(), &received)
    guard code == MPI_SUCCESS else { return MPIError(code: code, function: "MPI_Get_count") }
    guard received == expected else {
      return MPIError(
        .short, function: function,
        "a message of \(received) bytes from rank \(status.MPI_SOURCE), tag \(status.MPI_TAG), "
          + "where \(expected) bytes were expected")
    }
    return nil
  }
}
