/// Who meets which block when, if blocks pass round a ring of groups of ranks.
///
/// A group is the ranks of a node, which read each other's memory in place, or a single rank. At
/// turn `t` group `g` holds the blocks of group `(g − t) mod G`, each in a slot that one of its
/// members looks after: the *carrier*, who takes it in and sends it on. A block travels only as far
/// as the last group of which any member sees it: under a causal mask in the contiguous layout a
/// block is of no use to the ranks before its owner and never reaches them. Every rank computes the
/// schedule for itself.
///
/// With groups of one rank this is the ring of Liu, Zaharia, Abbeel 2023, Ring Attention with
/// Blockwise Transformers, Algorithm 1; with one group nothing travels.
package struct RingSchedule: Hashable, Sendable {
  /// The ranks of each group.
  package let groups: [[Int]]
  /// For each rank, its group and its place there.
  package let places: [(group: Int, member: Int)]
  /// For each owner of a block, how many groups on it is sent.
  package let hops: [Int]
  /// For each rank, for each owner, whether the rank sees any of the owner's block.
  private let seen: [[Bool]]

  /// Computes the schedule.
  ///
  /// - Parameters:
  ///   - groups: every rank once.
  ///   - sees: whether a rank has work to do on the block of an owner.
  /// - Complexity: O(P²) questions.
  package init(groups: [[Int]], sees: (_ rank: Int, _ owner: Int) -> Bool) {
    let ranks = groups.reduce(0) { $0 + $1.count }
    var places = [(group: Int, member: Int)](repeating: (0, 0), count: ranks)
    for (group, members) in groups.enumerated() {
      for (member, rank) in members.enumerated() { places[rank] = (group, member) }
    }
    let seen = (0..<ranks).map { rank in (0..<ranks).map { sees(rank, $0) } }
    self.groups = groups
    self.places = places
    self.seen = seen
    hops = (0..<ranks).map { owner in
      (0..<groups.count).last { turn in
        groups[(places[owner].group + turn) % groups.count].contains { seen[$0][owner] }
      } ?? 0
    }
  }

  package static func == (left: RingSchedule, right: RingSchedule) -> Bool {
    left.groups == right.groups && left.seen == right.seen
  }

  package func hash(into hasher: inout Hasher) {
    hasher.combine(groups)
    hasher.combine(seen)
  }

  /// Whether a rank has work to do on the block of an owner.
  package func sees(_ rank: Int, _ owner: Int) -> Bool { seen[rank][owner] }

  /// Turns until every block has been everywhere.
  package var turns: Int { groups.count }

  /// The most blocks that a group ever holds at a time.
  package var slots: Int { groups.reduce(0) { max($0, $1.count) } }

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

  /// The order in which a member goes through the slots: its own first, and no two members of a
  /// full group at the same one.
  package func slotOrder(member: Int) -> [Int] {
    (0..<slots).map { (member + $0) % slots }
  }

  /// The members of a group that see an owner's block, in the order in which they reach its slot.
  package func visitors(group: Int, slot: Int, owner: Int) -> [Int] {
    let members = groups[group].indices.filter { seen[groups[group][$0]][owner] }
    return members.sorted {
      let steps = (($0, (slot - $0 + slots) % slots), ($1, (slot - $1 + slots) % slots))
      return (steps.0.1, steps.0.0) < (steps.1.1, steps.1.0)
    }
  }

  /// The bytes that a rank sends, if what travels has these sizes.
  ///
  /// With groups of one rank, equal sizes and no block left out it is `(P − 1) · n`, of blocks and
  /// of results each: a result is started by the first rank that is not the block's owner, and the
  /// owner keeps its own part.
  ///
  /// - Parameters:
  ///   - blocks: for each owner, the bytes of its block.
  ///   - results: for each owner, the bytes of what is found out about its block; zeros if nothing
  ///     is sent home.
  package func bytesSent(by rank: Int, blocks: [Int], results: [Int]) -> Int {
    var sum = 0
    for slot in slots(carriedBy: rank) {
      for turn in 0..<turns {
        guard let owner = owner(group: places[rank].group, turn: turn, slot: slot) else { continue }
        if turn < hops[owner] { sum += blocks[owner] }
        if turn > 0 { sum += results[owner] }
      }
    }
    return sum
  }
}
