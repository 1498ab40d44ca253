import Attention
import Synchronization

/// Copies of a pass that are computed at the same time, each by a thread of its own: what cores
/// take from each other.
///
/// It is threads of one process that compute, since it is cores and memory that are shared; ranks
/// differ from them in what they send, which is measured elsewhere.
final class CopiesAtOnce: ThreadedPass, @unchecked Sendable {
  // Each is touched only by the thread that has taken it.
  private let copies: [any BenchPass]
  private let ready = Atomic(0)
  private let results = Mutex<[Result<Double, any Error>]>([])

  init(_ copies: [any BenchPass]) {
    self.copies = copies
  }

  var unitCount: Int { copies.count }

  /// Computes all once, from when a thread stands by for each.
  ///
  /// - Returns: the seconds of each.
  func seconds() throws -> [Double] {
    ready.store(0, ordering: .sequentiallyConsistent)
    results.withLock { $0 = [] }
    ThreadTeam(threads: copies.count).run(self)
    return try results.withLock { try $0.map { try $0.get() } }
  }

  func run(_ units: ThreadTeam.Units, poll: (_ work: Int) -> Void) {
    while let unit = units.next() {
      ready.wrappingAdd(1, ordering: .sequentiallyConsistent)
      // Awake, so that all begin together; there are no more of them than cores.
      while ready.load(ordering: .acquiring) < copies.count {}
      let result = Result { try BenchClock.wall.seconds(copies[unit].run) }
      results.withLock { $0.append(result) }
    }
  }
}
