/// Looks after the transfers of a rank that computes, now and then.
///
/// Open MPI moves a large message only inside its own calls, so a rank that computes has to look
/// after what is on its way. A look costs system calls, whether or not anything has come: 10 µs and
/// more, which between all tiles, 40 µs apart, would take as much time as the kernels while a slow
/// link is busy. Open MPI hands out a few hundred KiB at a time, which a link of 10 Gbit/s needs
/// 200 µs for: so long lies between two looks.
///
/// ```swift
/// var poller = TransferPoller()
/// compute { poller.poll { () throws(MPIError) in _ = try pending.test() } }   // between tiles
/// try poller.throwFailure()
/// ```
public struct TransferPoller {
  /// How long a rank computes before it looks again, unless it is told otherwise.
  public static let usualInterval = Duration.microseconds(200)

  private let interval: Duration
  private let isOn: Bool
  private var next = ContinuousClock.now
  private var failure: MPIError?

  /// Creates a poller that is due at once.
  ///
  /// - Parameters:
  ///   - isOn: false never looks, where all transfers end before computing.
  ///   - interval: how long to compute before looking again.
  public init(isOn: Bool = true, interval: Duration = usualInterval) {
    self.interval = interval
    self.isOn = isOn
  }

  /// Moves transfers on, if that is due: to be called as often as the computation can stop.
  ///
  /// - Parameter advance: moves on whatever is on its way. What it throws is kept for
  ///   ``throwFailure()``, since a computation cannot be left in the middle.
  public mutating func poll(_ advance: () throws(MPIError) -> Void) {
    guard isOn else { return }
    let now = ContinuousClock.now
    if now < next { return }
    next = now + interval
    do throws(MPIError) {
      try advance()
    } catch {
      failure = failure ?? error
    }
  }

  /// Throws the first failure of all looks so far, when the computation is over.
  public func throwFailure() throws(MPIError) {
    if let failure { throw failure }
  }
}
