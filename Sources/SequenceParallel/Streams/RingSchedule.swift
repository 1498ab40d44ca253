/// Who meets which block when, if blocks pass round a ring of groups of ranks.
///
/// A group is the ranks of a node, which read each other's memory in place, or a single rank. At
/// turn `t` group `g` holds the blocks of group `(g − t) mod G`, each in a slot that one of its
/// members looks after: the *carrier*, who takes it in and sends it on. Of a block each run travels
/// only as far as the last group of which any member sees it: under a causal mask in the contiguous
/// layout a block is of no use to the ranks before its owner and never reaches them; under a window
/// the ranks after it get what they see of it. Every rank computes the schedule for itself.
///
/// With groups of one rank this is the ring of Liu, Zaharia, Abbeel 2023, Ring Attention with
/// Blockwise Transformers, Algorithm 1; with one group nothing travels.
package struct RingSchedule: Hashable, Sendable {
  /// The ranks of each group.
  package let groups: [[Int]]
  /// For each rank, its group and its place there.
  package let places: [(group: Int, member: Int)]
  /// For each owner, the parcels of its block: neighbouring runs that are sent equally far.
  package let parcels: [[Parcel]]
  /// For each owner of a block, how many groups on any of it is sent.
  package let hops: [Int]
  /// Which rank has work to do on the block of which owner.
  private let meetings: Meetings

  /// Computes the schedule.
  ///
  /// - Parameters:
  ///   - groups: every rank once.
  ///   - meetings: which rank has work to do on the block of which owner.
  /// - Complexity: O(runs) where groups are neighbouring ranks, in ascending or descending order.
  package init(groups: [[Int]], meetings: Meetings) {
    let ranks = groups.reduce(0) { $0 + $1.count }
    var places = [(group: Int, member: Int)](repeating: (0, 0), count: ranks)
    for (group, members) in groups.enumerated() {
      for (member, rank) in members.enumerated() { places[rank] = (group, member) }
    }
    self.groups = groups
    slots = groups.reduce(0) { max($0, $1.count) }
    self.places = places
    self.meetings = meetings
    let way = RingWay(groups, places: places)
    parcels = (0..<ranks).map { owner in
      meetings.parcels(
        of: owner, by: { way.hops(from: places[owner].group, to: $0) }, hops: { $0 })
    }
    hops = parcels.map { $0.reduce(0) { max($0, $1.hops) } }
  }

  /// Computes the schedule, asking every rank about every owner.
  package init(groups: [[Int]], sees: (_ rank: Int, _ owner: Int) -> Bool) {
    let ranks = groups.reduce(0) { $0 + $1.count }
    self.init(groups: groups, meetings: Meetings(ranks: ranks, sees: sees))
  }

  package static func == (left: RingSchedule, right: RingSchedule) -> Bool {
    left.groups == right.groups && left.meetings == right.meetings
  }

  package func hash(into hasher: inout Hasher) {
    hasher.combine(groups)
    hasher.combine(meetings)
  }

  /// Whether a rank has work to do on the block of an owner.
  package func sees(_ rank: Int, _ owner: Int) -> Bool { meetings.meets(rank, owner) }

  /// Turns until every block has been everywhere.
  package var turns: Int { groups.count }

  /// The most blocks that a group ever holds at a time.
  package let slots: Int

  /// Whose block lies in a slot of a group at a turn; nil if none does.
  package func owner(group: Int, turn: Int, slot: Int) -> Int? {
    let origin = groups[(group - turn + groups.count) % groups.count]
    guard slot < origin.count, turn <= hops[origin[slot]] else { return nil }
    return origin[slot]
  }

  /// The rank that takes in and sends on what lies in a slot of a group.
  package func carrier(group: Int, slot: Int) -> Int {
    let members = groups[(group + groups.count) % groups.count]
    return members[slot % members.count]
  }

  /// The slots that a rank looks after.
  package func slots(carriedBy rank: Int) -> [Int] {
    let (group, member) = places[rank]
    return Array(stride(from: member, to: slots, by: groups[group].count))
  }

  /// How many slots a rank looks after.
  func slotCount(carriedBy rank: Int) -> Int {
    let (group, member) = places[rank]
    let members = groups[group].count
    return (slots - member + members - 1) / members
  }

  /// The order in which a member goes through the slots: its own first, and no two members of a
  /// full group at the same one.
  package func slotOrder(member: Int) -> [Int] {
    (0..<slots).map { (member + $0) % slots }
  }

  /// The members of a group that see an owner's block, in the order in which they reach its slot.
  package func visitors(group: Int, slot: Int, owner: Int) -> [Int] {
    let members = groups[group].indices.filter { sees(groups[group][$0], owner) }
    return members.sorted {
      let steps = (($0, (slot - $0 + slots) % slots), ($1, (slot - $1 + slots) % slots))
      return (steps.0.1, steps.0.0) < (steps.1.1, steps.1.0)
    }
  }
}
