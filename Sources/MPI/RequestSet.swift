internal import COpenMPI
internal import Glibc

/// The MPI requests of one or more messages in flight, and the guard of their memory.
///
/// Dropping the set while a message is unfinished stops the program: the memory is about to be
/// freed under MPI's hands. The set has room for a fixed number of requests, so that polling never
/// allocates.
@safe
final class RequestSet {
  /// How many requests, the oldest, one poll looks at.
  ///
  /// A poll of a huge message in small chunks stays as cheap as any other; MPI itself moves all of
  /// them on in each call.
  private static let window = 32

  /// Kept alive until the last message is done.
  let communicator: CommunicatorState
  private let capacity: Int
  private let requests: UnsafeMutablePointer<MPI_Request?>
  /// Where `MPI_Testsome` tells which requests of the window are done, and how.
  private let indices: UnsafeMutablePointer<CInt>
  private let statuses: UnsafeMutablePointer<MPI_Status>

  /// All requests before this one are done.
  private var oldest = 0
  private var posted = 0
  private var active = 0
  /// Messages that are to be received and have not yet met their receive, see ``Inbox``.
  private var awaited = 0
  private var failure: MPIError?
  /// Whether the memory is known to stay alive for good, though MPI may still use it.
  private var isLeaked = false

  init(capacity: Int, communicator: CommunicatorState) {
    self.communicator = communicator
    self.capacity = capacity
    let slots = min(capacity, Self.window)
    unsafe requests = .allocate(capacity: max(capacity, 1))
    unsafe indices = .allocate(capacity: max(slots, 1))
    unsafe statuses = .allocate(capacity: max(slots, 1))
    unsafe statuses.initialize(repeating: MPI_Status(), count: slots)
  }

  deinit {
    if !isFinished && !isLeaked {
      let earlier = MPIError.latest.map { "; the latest error before it: \($0)" } ?? ""
      stopProgram("a transfer was dropped before its wait gave the buffer back\(earlier)")
    }
    unsafe requests.deallocate()
    unsafe indices.deallocate()
    unsafe statuses.deallocate()
  }

  /// Whether all messages are done, and MPI no longer uses their memory.
  var isFinished: Bool { active == 0 && awaited == 0 }

  /// The messages in all, and those that are done.
  var progress: (done: Int, all: Int) { (posted - active, posted + awaited) }

  // MARK: Posting

  /// Starts the send of one chunk, which stays where it is until the set is finished.
  ///
  /// C: `MPI_Isend`, MPI 3.1 §3.7.2.
  func postSend(
    _ bytes: UnsafeRawBufferPointer, to destination: Int, tag: Int
  ) throws(MPIError) {
    precondition(posted < capacity)
    try unsafe check(
      MPI_Isend(
        bytes.baseAddress, CInt(bytes.count), copenmpi_byte(), CInt(destination), CInt(tag),
        communicator.handle.raw, requests + posted), "MPI_Isend")
    posted += 1
    active += 1
  }

  /// Starts the receive of a message that has met its receive.
  ///
  /// C: `MPI_Imrecv`, MPI 3.1 §3.8.3.
  func postReceive(
    of message: MatchedMessage, into bytes: UnsafeMutableRawBufferPointer
  ) throws(MPIError) {
    precondition(posted < capacity)
    var raw = unsafe message.raw
    try unsafe check(
      MPI_Imrecv(
        bytes.baseAddress, CInt(bytes.count), copenmpi_byte(), &raw, requests + posted),
      "MPI_Imrecv")
    posted += 1
    active += 1
  }

  /// Notes that `messages` more have to come.
  func expect(_ messages: Int) { awaited += messages }

  /// Notes that one of the expected messages has come, and its receive has been posted.
  func hasMet() {
    awaited -= 1
    communicator.session.movements += 1
  }

  /// Notes the first failure, which the next poll throws.
  func fail(_ error: MPIError) { failure = failure ?? error }

  // MARK: Completion

  /// Moves all messages on, without blocking; answers whether all are done, and throws the first
  /// failure.
  ///
  /// C: `MPI_Testsome`, MPI 3.1 §3.7.5.
  func poll() throws(MPIError) -> Bool {
    if isFinished && failure == nil { return true }
    communicator.session.inbox.match()
    reap()
    if let failure {
      _ = cancel()
      throw failure
    }
    return isFinished
  }

  /// Waits for all messages, in the way of ``WaitLoop``.
  func wait(
    until deadline: ContinuousClock.Instant?, for what: @autoclosure () -> String
  ) throws(MPIError) {
    try WaitLoop.run(on: communicator.session, until: deadline, for: what(), look: poll)
  }

  /// After a failure: takes back what no message has met yet, and answers whether the memory is
  /// free.
  ///
  /// Messages that are on their way cannot be taken back.
  func cancel() -> Bool {
    if awaited > 0 { communicator.session.inbox.remove(self) }
    awaited = 0
    reap()
    return active == 0
  }

  /// After a failure: returns only when MPI has let go of all memory, which the caller goes on to
  /// use.
  ///
  /// What cannot be taken back is waited for, since its other side is on its way. Where the other
  /// side has failed too it may never come; then the program is stopped.
  func settle(after failure: MPIError) {
    let deadline = ContinuousClock.now + .seconds(2)
    while !cancel() {
      communicator.session.inbox.match()
      usleep(50)
      if ContinuousClock.now > deadline {
        stopProgram(
          "\(failure); messages of the same call are on their way and cannot be taken back")
      }
    }
  }

  /// Declares that the memory stays allocated for good, so that the set may be dropped.
  func leak() { isLeaked = true }

  /// Notes which of the oldest requests are done, until a round finds none.
  private func reap() {
    while active > 0 {
      while unsafe requests[oldest] == copenmpi_request_null() { oldest += 1 }
      var done: CInt = 0
      let code = unsafe MPI_Testsome(
        CInt(min(posted - oldest, Self.window)), requests + oldest, &done, indices, statuses)
      guard code == MPI_SUCCESS || code == MPI_ERR_IN_STATUS else {
        return fail(MPIError(code: code, function: "MPI_Testsome"))
      }
      if done <= 0 { return }
      active -= Int(done)
      communicator.session.movements += Int(done)
      // A status has a code of its own only where the call as a whole said so.
      for slot in 0..<Int(done) where code == MPI_ERR_IN_STATUS {
        let own = unsafe statuses[slot].MPI_ERROR
        if own == MPI_SUCCESS { continue }
        fail(MPIError(code: own, function: "MPI_Testsome"))
        // Open MPI may leave the handle of a failed request, and would report it again.
        unsafe requests[oldest + Int(indices[slot])] = copenmpi_request_null()
      }
    }
  }
}
