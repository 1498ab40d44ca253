/// How often a rank that computes looks after its transfers.
///
/// A look costs system calls, whether or not anything has come: 10 µs and more, which between all tiles,
/// 40 µs apart, would take as much time as the kernels while a slow link is busy. Open MPI hands out a
/// few hundred KiB at a time, which a link of 10 Gbit/s needs this long for.
struct PollPace {
  private static let interval = Duration.microseconds(200)
  private var next = ContinuousClock.now

  /// Whether it is time, which then begins anew.
  mutating func isDue() -> Bool {
    let now = ContinuousClock.now
    if now < next { return false }
    next = now + Self.interval
    return true
  }
}
