import MPI
import Tensors

/// Memory that the ranks of a group read and write in place.
///
/// A group of one rank needs nothing but its own; ranks of a node share a window.
struct GroupMemory: ~Copyable {
  private var own: AlignedBuffer<UInt8>
  private var window: SharedWindow?

  /// Makes the memory, called by all ranks of the group together.
  ///
  /// - Parameters:
  ///   - byteCount: the bytes of this rank's part.
  ///   - group: the ranks that share it.
  init(byteCount: Int, group: borrowing Communicator) throws(MPIError) {
    if group.size == 1 {
      own = AlignedBuffer(zeros: byteCount)
      window = nil
    } else {
      own = AlignedBuffer(zeros: 0)
      window = try SharedWindow(byteCount: byteCount, on: group)
    }
  }

  /// The parts of all members.
  @unsafe
  func parts(of group: borrowing Communicator) -> [UnsafeMutableRawBufferPointer] {
    switch window {
    case .some(let window): unsafe (0..<group.size).map { unsafe window.unsafeBytes(of: $0) }
    case .none: unsafe [own.unsafeMutableBytes]
    }
  }

  /// Gives a window back, called by all ranks of the group together; the memory is gone then.
  mutating func free() throws(MPIError) {
    if let window = window.take() { try window.free() }
  }
}

/// How far the members of a group are: for each slot, the blocks that have come in, and the visits
/// that are over.
///
/// Whoever sees a count sees all that was written before it was advanced.
final class GroupCounters {
  private var own: [Int]
  private var shared: SharedCounters?
  private let slots: Int

  /// Makes the counters, called by all ranks of the group together; all are 0.
  init(slots: Int, group: borrowing Communicator) throws(MPIError) {
    self.slots = slots
    own = [Int](repeating: 0, count: 2 * slots)
    if group.size > 1 { shared = try SharedCounters(count: 2 * slots, on: group) }
  }

  /// Blocks that have come into a slot.
  func arrivals(_ slot: Int) -> Int { value(slot) }
  /// Visits to a slot that are over.
  func visits(_ slot: Int) -> Int { value(slots + slot) }
  /// A block has come in.
  func countArrival(_ slot: Int) { advance(slot) }
  /// A visit is over.
  func countVisit(_ slot: Int) { advance(slots + slot) }

  private func value(_ index: Int) -> Int {
    switch shared {
    case .some(let shared): shared.value(index)
    case .none: own[index]
    }
  }

  private func advance(_ index: Int) {
    switch shared {
    case .some(let shared): shared.advance(index)
    case .none: own[index] += 1
    }
  }

  /// Gives shared counters back, called by all ranks of the group together.
  func free() throws(MPIError) {
    if let shared = shared.take() { try shared.free() }
  }
}
