import Compute
import Glibc
import Synchronization
import Tensors

/// What units have found out about leaves of keys, until it is its turn to be added to results.
///
/// Units are numbered leaf by leaf, tile of queries by tile. Whoever finishes the one whose turn it
/// is adds it, and those after it that have been waiting: so results are added in the order of the
/// leaves, whoever was faster, and nobody waits unless one is far behind. The slots are taken in
/// turn by the units.
@safe
final class LeafSlots: Sendable {
  private struct State {
    /// For each tile of queries, the leaf whose turn it is, and whether somebody is adding.
    var turn: [Int]
    var isBusy: [Bool]
    /// For each slot, which unit may take it, and whether it has been filled.
    var unit: [Int]
    var isFull: [Bool]
  }

  private let leafCount: Int
  private let slotCount: Int
  private let floatCount: Int
  private let memory: Memory
  private let state: Mutex<State>

  /// The floats of all slots.
  private struct Memory: Sendable {
    nonisolated(unsafe) let base: UnsafeMutablePointer<Float>
  }

  /// Makes room for what the units of `tiles` tiles and `leaves` leaves find out.
  ///
  /// - Parameter floats: what a unit leaves behind at most.
  init(tiles: Int, leaves: Int, slots: Int, floats: Int) {
    leafCount = leaves
    slotCount = max(1, min(slots, tiles * leaves))
    // Slots of two threads share no cache line.
    floatCount = (floats + 15) / 16 * 16
    memory = unsafe Memory(
      base: UnsafeMutableRawPointer.allocate(
        byteCount: slotCount * floatCount * MemoryLayout<Float>.stride, alignment: 64
      ).bindMemory(to: Float.self, capacity: slotCount * floatCount))
    state = Mutex(
      State(
        turn: Array(repeating: 0, count: tiles), isBusy: Array(repeating: false, count: tiles),
        unit: Array(0..<slotCount), isFull: Array(repeating: false, count: slotCount)))
  }

  deinit { unsafe memory.base.deallocate() }

  /// The slot of a unit: waits until what was there has been added.
  @unsafe
  func slot(of unit: Int, poll: (_ scores: Int) -> Void) -> UnsafeMutablePointer<Float> {
    while state.withLock({ $0.unit[unit % slotCount] != unit }) {
      poll(0)
      sched_yield()
    }
    return unsafe memory.base + unit % slotCount * floatCount
  }

  /// Adds what a unit has left in its slot, and what has been waiting for it.
  ///
  /// - Parameter add: takes what a slot holds; never called for the same tile of queries twice at
  ///   a time, and in the order of leaves.
  func finish(
    _ unit: Int, add: (_ unit: Int, _ slot: UnsafeMutablePointer<Float>) -> Void
  ) {
    let tile = unit / leafCount
    state.withLock { $0.isFull[unit % slotCount] = true }
    while let next = state.withLock({ takeTurn(of: tile, &$0) }) {
      unsafe add(next, memory.base + next % slotCount * floatCount)
      state.withLock { state in
        state.isFull[next % slotCount] = false
        state.unit[next % slotCount] = next + slotCount
        state.turn[tile] += 1
        state.isBusy[tile] = false
      }
    }
  }

  /// The unit of a tile whose turn it is, if it is waiting and nobody is adding.
  private func takeTurn(of tile: Int, _ state: inout State) -> Int? {
    if state.isBusy[tile] || state.turn[tile] == leafCount { return nil }
    let unit = tile * leafCount + state.turn[tile]
    let slot = unit % slotCount
    guard state.unit[slot] == unit, state.isFull[slot] else { return nil }
    state.isBusy[tile] = true
    return unit
  }
}
