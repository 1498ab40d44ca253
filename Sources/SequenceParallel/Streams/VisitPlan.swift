/// Which member of a group visits which slot when, so that they can go by counts of visits.
///
/// After the last turn of a run that is split, the blocks of the first turn are visited again, for
/// their second halves.
struct VisitPlan {
  /// For each slot, for each turn, the members that visit it, in order.
  private let visitors: [[[Int]]]
  /// For each slot, for each turn and the end, for each member, its visits before it since the
  /// counters were made.
  private let before: [[[Int]]]

  /// Plans a run.
  ///
  /// - Parameters:
  ///   - isSplit: whether the first turn comes again at the end.
  ///   - counted: for each slot, for each member, its visits in earlier runs.
  init(schedule: RingSchedule, group: Int, isSplit: Bool, counted: [[Int]]) {
    let turns = Array(0..<schedule.turns) + (isSplit ? [0] : [])
    visitors = (0..<schedule.slots).map { slot in
      turns.map { turn in
        guard let owner = schedule.owner(group: group, turn: turn, slot: slot) else { return [] }
        return schedule.visitors(group: group, slot: slot, owner: owner)
      }
    }
    before = zip(visitors, counted).map { turns, counted in
      var counts = counted
      return [counted]
        + turns.map { visitors in
          for member in visitors { counts[member] += 1 }
          return counts
        }
    }
  }

  /// Whether a member visits a slot at a turn.
  func visits(member: Int, slot: Int, turn: Int) -> Bool {
    visitors[slot][turn].contains(member)
  }

  /// For each member, its count of visits when a turn of a slot is over.
  func end(slot: Int, turn: Int) -> [Int] { before[slot][turn + 1] }

  /// For each member, its count of visits when the run is over.
  func end(slot: Int) -> [Int] { before[slot][before[slot].count - 1] }

  /// Who visits a slot last before a member does at a turn, and its count of visits then; nil if
  /// nobody does in this run.
  func predecessor(slot: Int, turn: Int, member: Int) -> (member: Int, count: Int)? {
    var earlier = Array(visitors[slot][turn].prefix { $0 != member })
    var turn = turn
    while earlier.isEmpty, turn > 0 {
      turn -= 1
      earlier = visitors[slot][turn]
    }
    return earlier.last.map { ($0, before[slot][turn + 1][$0]) }
  }
}
