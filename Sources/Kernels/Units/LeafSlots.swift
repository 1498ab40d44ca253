import Glibc
import Synchronization

/// What units have found out about leaves of keys, until it is its turn to be added to results.
///
/// Units are numbered leaf by leaf, tile of queries by tile, and take slots in turn. Whoever has
/// found out about the leaf whose turn it is adds that, and what has been waiting for it: results
/// are added in the order of the leaves, whoever was faster, and nobody waits unless somebody is
/// far behind.
@safe
final class LeafSlots: Sendable {
  private struct State {
    /// For each tile of queries, the leaf whose turn it is, and whether somebody is adding.
    var turns: [Int]
    var isBusy: [Bool]
    /// For each slot, which unit may take it, and whether it has.
    var units: [Int]
    var isFull: [Bool]
    /// What units of a slot have found out, in its memory; nil if they saw nothing.
    var results: [LeafState?]
  }

  private let leafCount: Int
  private let slotCount: Int
  private let floatCount: Int
  private let memory: Memory
  private let state: Mutex<State>

  /// The floats of all slots.
  @unsafe
  private struct Memory: @unchecked Sendable {
    let base: UnsafeMutablePointer<Float>
  }

  /// So many that threads that are ahead need not wait.
  private static let slotsPerThread = 4

  /// Makes room for what the units of `tiles` tiles and `leaves` leaves find out.
  ///
  /// - Parameter floats: of a state at most.
  init(tiles: Int, leaves: Int, threads: Int, floats: Int) {
    leafCount = leaves
    slotCount = max(1, min(Self.slotsPerThread * threads, tiles * leaves))
    // Slots of two threads share no cache line.
    floatCount = (floats + 15) / 16 * 16
    unsafe memory = Memory(
      base: UnsafeMutableRawPointer.allocate(
        byteCount: slotCount * floatCount * MemoryLayout<Float>.stride, alignment: 64
      ).bindMemory(to: Float.self, capacity: slotCount * floatCount))
    state = Mutex(
      State(
        turns: Array(repeating: 0, count: tiles), isBusy: Array(repeating: false, count: tiles),
        units: Array(0..<slotCount), isFull: Array(repeating: false, count: slotCount),
        results: Array(repeating: nil, count: slotCount)))
  }

  deinit { unsafe memory.base.deallocate() }

  /// Leaves what a unit has found out to be added, and adds what it is the turn of.
  ///
  /// - Parameters:
  ///   - result: nil if its queries see nothing of its leaf.
  ///   - poll: as in ``ThreadTeam/run(_:poll:)``.
  ///   - add: takes results of the unit's tile of queries, in the order of leaves; nobody else adds
  ///     to those meanwhile.
  func put(
    _ result: LeafState?, of unit: Int, poll: (_ scores: Int) -> Void, add: (LeafState) -> Void
  ) {
    let (tile, slot) = (unit / leafCount, unit % slotCount)
    while state.withLock({ $0.units[slot] != unit }) {
      poll(0)
      sched_yield()
    }
    var kept: LeafState?
    if let result {
      precondition(result.floatCount <= floatCount, "no room for a state")
      kept = unsafe result.like(in: memory.base + slot * floatCount)
      if let kept { result.copy(to: kept) }
    }
    let found = kept
    state.withLock { state in
      state.results[slot] = found
      state.isFull[slot] = true
    }
    while let next = state.withLock({ takeTurn(of: tile, &$0) }) {
      if let result = next.result { add(result) }
      state.withLock { state in
        state.isFull[next.slot] = false
        state.units[next.slot] += slotCount
        state.turns[tile] += 1
        state.isBusy[tile] = false
      }
    }
  }

  private struct Turn {
    let slot: Int
    let result: LeafState?
  }

  /// What of a tile it is the turn of, if that is there and nobody is adding.
  private func takeTurn(of tile: Int, _ state: inout State) -> Turn? {
    if state.isBusy[tile] || state.turns[tile] == leafCount { return nil }
    let unit = tile * leafCount + state.turns[tile]
    let slot = unit % slotCount
    guard state.units[slot] == unit, state.isFull[slot] else { return nil }
    state.isBusy[tile] = true
    return Turn(slot: slot, result: state.results[slot])
  }
}
