/// How many visits the slots of a group get, and in which order, so that members can take turns by
/// counting.
///
/// After the last turn of a run that is split, the blocks of the first turn are visited again, for
/// their second halves.
struct VisitPlan {
  /// For each slot, for each turn, the members that visit it, in order.
  private let visitors: [[[Int]]]
  /// For each slot, for each turn, the visits before it, since the counters were made.
  private let before: [[Int]]

  /// Plans a run.
  ///
  /// - Parameters:
  ///   - isSplit: whether the first turn comes again at the end.
  ///   - counted: for each slot, the visits of earlier runs.
  init(schedule: RingSchedule, group: Int, isSplit: Bool, counted: [Int]) {
    let turns = Array(0..<schedule.turns) + (isSplit ? [0] : [])
    visitors = (0..<schedule.slots).map { slot in
      turns.map { turn in
        guard let owner = schedule.owner(group: group, turn: turn, slot: slot) else { return [] }
        return schedule.visitors(group: group, slot: slot, owner: owner)
      }
    }
    before = zip(visitors, counted).map { turns, counted in
      turns.reduce(into: [counted]) { $0.append(($0.last ?? 0) + $1.count) }
    }
  }

  /// The count of visits at which a member's turn at a slot has come; nil if it never does.
  func ticket(slot: Int, turn: Int, member: Int) -> Int? {
    visitors[slot][turn].firstIndex(of: member).map { before[slot][turn] + $0 }
  }

  /// The count of visits at which all of a turn's are over.
  func end(slot: Int, turn: Int) -> Int { before[slot][turn + 1] }

  /// The count of visits at which the run is over.
  func end(slot: Int) -> Int { before[slot][before[slot].count - 1] }
}
