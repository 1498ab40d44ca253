/// How long a wait pauses between two looks: first not at all, then only to give the core away, and
/// when nothing has moved for a while asleep, longer and longer.
///
/// Whatever moves starts it anew: a message is rarely alone, and the next piece of a large one
/// comes only while somebody looks.
package struct Backoff: Sendable {
  /// What to do before the next look.
  package enum Pause: Hashable, Sendable {
    /// Nothing: the answer is usually a microsecond away.
    case none
    /// Give the core to another process that is ready to run.
    case yield
    /// Sleep; Linux adds up to 50 µs of timer slack.
    case sleep(nanoseconds: Int)
  }

  /// Looks without a pause: some 10 µs, a few times the latency of a small message.
  package static let immediateLooks = 32
  /// Looks with a `sched_yield` between, a few milliseconds: a large message, which moves on only
  /// in looks, must not be left lying while it is on its way.
  package static let yieldingLooks = 2_000
  private static let shortestSleepNanoseconds = 1_000
  private static let longestSleepNanoseconds = 50_000

  private var idleLooks = 0
  private var sleepNanoseconds = shortestSleepNanoseconds

  /// A wait that begins.
  package init() {}

  /// The pause after a look.
  ///
  /// - Parameter hasMoved: whether anything has come or gone since the look before.
  package mutating func pause(hasMoved: Bool) -> Pause {
    if hasMoved {
      self = Backoff()
      return .none
    }
    idleLooks += 1
    if idleLooks <= Self.immediateLooks { return .none }
    if idleLooks <= Self.immediateLooks + Self.yieldingLooks { return .yield }
    defer { sleepNanoseconds = min(2 * sleepNanoseconds, Self.longestSleepNanoseconds) }
    return .sleep(nanoseconds: sleepNanoseconds)
  }
}
