import MPI

/// The visits of a rank to blocks, one after the other, and where their time goes.
struct TimedVisits {
  private(set) var timing = Timing()
  private var poller: TransferPoller
  private let timeline: Timeline?

  /// - Parameters:
  ///   - interval: how long a rank computes before it looks after its transfers.
  ///   - looks: false never looks while it computes.
  ///   - timeline: where spans are noted.
  init(interval: Duration, looks: Bool, timeline: Timeline?) {
    poller = TransferPoller(isOn: looks, interval: interval)
    self.timeline = timeline
  }

  /// Waits for what a rank meets of a block and computes on it.
  ///
  /// - Parameters:
  ///   - owner: whose block it is.
  ///   - parcels: what the rank meets of it.
  ///   - wait: returns when it may be computed on.
  ///   - look: moves transfers on.
  ///   - compute: computes, calling its second argument between tiles.
  mutating func make(
    _ owner: Int, _ parcels: [Visit], wait: () throws(MPIError) -> Void,
    look: @escaping () throws(MPIError) -> Void, compute: (Visit, _ poll: () -> Void) -> Void
  ) throws(MPIError) {
    let start = ContinuousClock.now
    try wait()
    let ready = ContinuousClock.now
    for visit in parcels { compute(visit) { poller.poll(look) } }
    try poller.throwFailure()
    let end = ContinuousClock.now
    timing.waiting += ready - start
    timing.computing += end - ready
    timeline?.note(.waiting, "wait for \(owner)", from: start, to: ready)
    timeline?.note(.computing, "block of \(owner)", from: ready, to: end)
  }

  /// Waits for something else.
  mutating func wait(
    _ name: @autoclosure () -> String? = nil, _ body: () throws(MPIError) -> Void
  ) throws(MPIError) {
    let start = ContinuousClock.now
    try body()
    let end = ContinuousClock.now
    timing.waiting += end - start
    if let timeline, let name = name() { timeline.note(.waiting, name, from: start, to: end) }
  }
}
