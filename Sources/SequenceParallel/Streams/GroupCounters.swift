import MPI

/// How far the members of a group are: the blocks that have come into each slot, and the visits of
/// each member to each slot that are over.
///
/// Whoever sees a count sees all that was written before it was advanced.
final class GroupCounters {
  private var own: [Int]
  private let shared: (any WireCounters)?
  private let slots: Int
  private let members: Int

  /// Makes the counters, called by all ranks of the group together; all are 0.
  init(slots: Int, group: any Wire) throws(MPIError) {
    self.slots = slots
    members = group.size
    own = [Int](repeating: 0, count: slots * (members + 1))
    shared = members > 1 ? try group.counters(slots * (members + 1)) : nil
  }

  /// Blocks that have come into a slot.
  func arrivals(_ slot: Int) -> Int { value(slot) }

  /// A block has come in.
  func countArrival(_ slot: Int) { advance(slot) }

  /// Visits of a member to a slot that are over.
  func visits(_ slot: Int, of member: Int) -> Int { value(slots + slot * members + member) }

  /// A visit is over.
  func countVisit(_ slot: Int, of member: Int) { advance(slots + slot * members + member) }

  /// Whether each member has visited a slot so many times.
  func areVisits(_ slot: Int, atLeast counts: [Int]) -> Bool {
    counts.indices.allSatisfy { visits(slot, of: $0) >= counts[$0] }
  }

  private func value(_ index: Int) -> Int { shared?.value(index) ?? own[index] }

  private func advance(_ index: Int) {
    if let shared { shared.advance(index) } else { own[index] += 1 }
  }

  /// Gives shared counters back, called by all ranks of the group together.
  func free() throws(MPIError) { try shared?.free() }
}
