internal import Glibc

/// The one way in which this module waits: look, then give the core away, then sleep a little.
///
/// A call that blocks inside MPI spins, so that ranks which outnumber the cores keep the ones they
/// wait for from running, and no deadline can end it. Here a wait is a series of looks, with the
/// pauses of ``Backoff`` between.
///
/// A wait need not know what it waits for in detail: the session counts every piece of a message
/// that comes or goes, whichever transfer it belongs to, and a look in which that count grows has
/// moved something.
enum WaitLoop {
  /// Looks until `look` says that the wait is over, or throws ``MPIError/ErrorClass/timedOut`` at
  /// `deadline`.
  ///
  /// - Parameters:
  ///   - session: whose messages move in looks.
  ///   - what: completes the sentence "timed out waiting for …".
  ///   - function: what the looks call.
  static func run(
    on session: Session, until deadline: ContinuousClock.Instant?,
    for what: @autoclosure () -> String,
    in function: String = "MPI_Test",
    look: () throws(MPIError) -> Bool
  ) throws(MPIError) {
    var backoff = Backoff()
    var movements = session.movements
    while try !look() {
      let pause = backoff.pause(hasMoved: session.movements != movements)
      movements = session.movements
      if pause == .none { continue }
      if let deadline, ContinuousClock.now >= deadline {
        throw MPIError(.timedOut, function: function, "timed out waiting for \(what())")
      }
      switch pause {
      case .none: break
      case .yield: sched_yield()
      case .sleep(let nanoseconds):
        var time = timespec(tv_sec: 0, tv_nsec: nanoseconds)
        unsafe nanosleep(&time, nil)
      }
    }
  }
}
