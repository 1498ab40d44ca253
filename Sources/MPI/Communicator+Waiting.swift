extension Communicator {
  /// Waits for something that is not the end of one transfer: several of them, or a word from
  /// another rank in shared memory.
  ///
  /// Looks as all waits of this module do: first without a pause, then giving the core away, then
  /// with short sleeps; without a pause again when a piece of any message of this process has
  /// moved.
  ///
  /// - Parameters:
  ///   - what: completes the sentence "timed out waiting for …".
  ///   - deadline: when to give up; nil waits forever.
  ///   - isOver: moves on what can be moved on, and answers whether the wait is over.
  /// - Throws: what `isOver` throws, and ``MPIError/ErrorClass/timedOut`` at the deadline.
  public func wait(
    for what: @autoclosure () -> String, deadline: ContinuousClock.Instant? = nil,
    until isOver: () throws(MPIError) -> Bool
  ) throws(MPIError) {
    try WaitLoop.run(on: state.session, until: deadline, for: what(), look: isOver)
  }
}
