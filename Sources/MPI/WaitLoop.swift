internal import Glibc

/// The one way in which this module waits: poll, then give the core away, then sleep a little.
///
/// A call that blocks inside MPI spins, so that ranks which outnumber the cores keep the ones they
/// wait for from running, and no deadline can end it. Here a wait is a series of polls. A poll that
/// brings no progress is followed by another at once (the answer is usually a microsecond away),
/// then by a `sched_yield`, and when nothing has come for a while by sleeps that grow.
struct WaitLoop {
  /// What one poll found.
  enum Progress {
    /// All is done.
    case finished
    /// A part is done: more is likely to come soon.
    case some
    /// Nothing new.
    case none
  }

  /// Polls without a pause: some 10 µs, a few times the latency of a small message.
  private static let spins = 32
  /// Polls with a `sched_yield` between, a few milliseconds: a large message, which moves on only in
  /// polls, must not be left lying while it is on its way.
  private static let yields = 2_000
  /// The first sleep, and the longest: Linux adds up to 50 µs of timer slack to each.
  private static let shortestSleepNanoseconds = 1_000
  private static let longestSleepNanoseconds = 50_000

  private let deadline: ContinuousClock.Instant?
  private var idlePolls = 0
  private var sleepNanoseconds = shortestSleepNanoseconds

  private init(deadline: ContinuousClock.Instant?) { self.deadline = deadline }

  /// Polls until `poll` is finished, or throws ``MPIError/ErrorClass/timedOut`` at `deadline`.
  ///
  /// `what` completes the sentence "timed out waiting for …", `function` is what the polls call.
  static func run(
    until deadline: ContinuousClock.Instant?,
    for what: @autoclosure () -> String,
    in function: String = "MPI_Test",
    poll: () throws(MPIError) -> Progress
  ) throws(MPIError) {
    var loop = WaitLoop(deadline: deadline)
    while true {
      switch try poll() {
      case .finished: return
      case .some: loop.reset()
      case .none:
        if loop.pauseIsOver() {
          throw MPIError(
            .timedOut, function: function, "timed out waiting for \(what())")
        }
      }
    }
  }

  private mutating func reset() {
    idlePolls = 0
    sleepNanoseconds = Self.shortestSleepNanoseconds
  }

  /// Pauses as long as the state of the wait suggests; answers whether the deadline has passed.
  private mutating func pauseIsOver() -> Bool {
    idlePolls += 1
    if idlePolls <= Self.spins { return false }
    if let deadline, ContinuousClock.now >= deadline { return true }
    if idlePolls <= Self.spins + Self.yields {
      sched_yield()
      return false
    }
    var time = timespec(tv_sec: 0, tv_nsec: sleepNanoseconds)
    unsafe nanosleep(&time, nil)
    sleepNanoseconds = min(2 * sleepNanoseconds, Self.longestSleepNanoseconds)
    return false
  }
}
