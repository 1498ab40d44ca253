import Glibc
import Synchronization

/// For each tile of queries, whose turn it is to add to its gradients.
final class Turns: Sendable {
  @safe
  private struct Counters: @unchecked Sendable {
    let base: UnsafeMutablePointer<Atomic<Int>>
    /// How often something has been added since it was settled; who has the turn may touch it.
    let additions: UnsafeMutablePointer<Int>
  }

  private let counters: Counters
  private let count: Int

  init(count: Int) {
    self.count = count
    counters = unsafe Counters(
      base: .allocate(capacity: max(count, 1)), additions: .allocate(capacity: max(count, 1)))
    unsafe counters.additions.initialize(repeating: 0, count: count)
    for index in 0..<count { unsafe (counters.base + index).initialize(to: Atomic(0)) }
  }

  deinit {
    unsafe counters.base.deinitialize(count: count)
    unsafe counters.base.deallocate()
    unsafe counters.additions.deallocate()
  }

  /// Waits until it is `turn` of counter `index`.
  func take(_ index: Int, _ turn: Int, poll: (_ scores: Int) -> Void) {
    while unsafe counters.base[index].load(ordering: .acquiring) != turn {
      poll(0)
      sched_yield()
    }
  }

  /// Counts what whoever has the turn has added to counter `index`.
  ///
  /// - Returns: whether that is to be settled: it was added often enough, or will not be again.
  func count(_ index: Int, added: Bool, isLast: Bool) -> Bool {
    let additions = unsafe counters.additions[index] + (added ? 1 : 0)
    let isDue = additions >= (isLast ? 1 : TileSizes.backwardTilesAtOnce)
    unsafe counters.additions[index] = isDue ? 0 : additions
    return isDue
  }

  /// Lets the next one have its turn.
  func pass(_ index: Int) {
    unsafe counters.base[index].wrappingAdd(1, ordering: .releasing)
  }
}
