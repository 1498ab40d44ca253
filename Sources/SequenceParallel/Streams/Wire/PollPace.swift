/// How often a rank that computes looks after its transfers.
package struct PollPace {
  /// What ``MPIWire/lookInterval`` gives the reasons for.
  package static let interval = Duration.microseconds(200)

  private let interval: Duration
  private var next = ContinuousClock.now

  /// The first look is due at once.
  package init(interval: Duration = Self.interval) { self.interval = interval }

  /// Whether it is time, which then begins anew.
  package mutating func isDue() -> Bool {
    let now = ContinuousClock.now
    if now < next { return false }
    next = now + interval
    return true
  }
}
