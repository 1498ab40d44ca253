import MPI
import SequenceParallel

extension RankLine {
  /// Computes on all threads, and moves messages meanwhile.
  ///
  /// - Parameters:
  ///   - count: units of work, which write to disjoint places.
  ///   - moving: looks after what is on its way, called not more often than is worth it.
  ///   - body: is given a unit, and a function to call now and then.
  func compute(
    _ count: Int, moving: () throws(MPIError) -> Void,
    _ body: @Sendable (_ unit: Int, _ poll: Poll) -> Void
  ) throws(MPIError) {
    var failure: MPIError?
    var last = ContinuousClock.now
    let interval = wire.lookInterval
    compute(count) {
      let now = ContinuousClock.now
      if now - last < interval { return }
      last = now
      do throws(MPIError) { try moving() } catch { failure = failure ?? error }
    } _: {
      body($0, $1)
    }
    if let failure { throw failure }
  }

  /// The same with messages that need nothing but to be looked at.
  func compute(
    _ count: Int, moving shipments: [any Shipment],
    _ body: @Sendable (_ unit: Int, _ poll: Poll) -> Void
  ) throws(MPIError) {
    try compute(
      count,
      moving: { () throws(MPIError) in
        for shipment in shipments { _ = try shipment.isFinished() }
      }, body)
  }

  /// Waits until messages have left or come.
  func wait(for what: @autoclosure () -> String, _ shipments: [any Shipment]) throws(MPIError) {
    if shipments.isEmpty { return }
    try wait(for: what()) { () throws(MPIError) in
      var isOver = true
      for shipment in shipments where try !shipment.isFinished() { isOver = false }
      return isOver
    }
  }
}
