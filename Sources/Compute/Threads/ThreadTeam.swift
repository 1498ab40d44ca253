import Dispatch
import Synchronization

/// The threads of one rank: the caller and some helpers, sharing a list of independent units.
///
/// Which thread takes which unit depends on timing, so results are deterministic only if units
/// write to disjoint places, which is what they are for. The caller is the only thread that polls,
/// since MPI is initialised for calls from one thread.
public struct ThreadTeam: Sendable {
  /// Threads, the caller included.
  public let threads: Int

  /// Creates a team.
  ///
  /// - Precondition: `threads ≥ 1`.
  public init(threads: Int) {
    precondition(threads >= 1, "a team needs a thread")
    self.threads = threads
  }

  /// A list of units, each handed out once.
  public final class Units: Sendable {
    private let count: Int
    private let taken = Atomic(0)

    init(count: Int) {
      self.count = count
    }

    /// The next unit, or nil when all are taken.
    public func next() -> Int? {
      let unit = taken.wrappingAdd(1, ordering: .relaxed).oldValue
      return unit < count ? unit : nil
    }
  }

  /// Runs `pass` once on every thread and returns when all of its units are done.
  ///
  /// - Parameter poll: called on the caller's thread between the steps of its units, with the work
  ///   that the step did, in whatever the pass counts (scores in attention), and while it waits for
  ///   the others, with 0.
  public func run(_ pass: some ThreadedPass, poll: (_ work: Int) -> Void = { _ in }) {
    let units = Units(count: pass.unitCount)
    let helpers = min(threads, pass.unitCount) - 1
    let group = DispatchGroup()
    for _ in 0..<max(0, helpers) {
      DispatchQueue.global().async(group: group) { pass.run(units, poll: { _ in }) }
    }
    pass.run(units, poll: poll)
    while group.wait(timeout: .now() + .microseconds(50)) == .timedOut { poll(0) }
  }
}

/// Work that is cut into independent units.
public protocol ThreadedPass: Sendable {
  /// How many units there are.
  var unitCount: Int { get }

  /// Takes units until there are none, calling `poll` between steps of some tens of microseconds.
  func run(_ units: ThreadTeam.Units, poll: (_ work: Int) -> Void)
}
