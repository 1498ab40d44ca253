/// Where the blocks and results of a group lie.
///
/// Each member has a part of the group's memory: its own block, then room for what travels through
/// the slots that it carries: two places a slot, so that a block can come in while the one before
/// is computed on. Results have parts of the same form, with two more places a slot for what is to
/// be added: from the group before, and from the last group that saw the own block.
struct GroupSlots {
  private let schedule: RingSchedule
  private let group: Int
  /// Bytes for each owner.
  private let sizes: [Int]
  /// Room for a block of any owner.
  private let room: Int
  private let places: Places
  private let memory: StreamMemory

  /// What a slot has room for.
  struct Places {
    /// Places that alternate from turn to turn.
    let alternating: Int
    /// Places for what is to be added.
    let incoming: Int

    /// - Parameter addsUp: whether what comes in is added to what is there.
    init(schedule: RingSchedule, addsUp: Bool) {
      let hops = schedule.hops.max() ?? 0
      alternating = min(2, hops)
      incoming = addsUp && hops > 0 ? 2 : 0
    }

    var count: Int { alternating + incoming }
  }

  /// - Parameters:
  ///   - sizes: for each owner, the bytes of its block or result.
  ///   - memory: what the group shares, with a part of
  ///     ``byteCount(of:schedule:sizes:places:)`` for each member.
  init(
    schedule: RingSchedule, group: Int, sizes: [Int], places: Places, memory: StreamMemory
  ) {
    self.places = places
    self.schedule = schedule
    self.group = group
    self.sizes = sizes
    room = Self.room(sizes)
    self.memory = memory
  }

  /// The bytes of a rank's part.
  static func byteCount(
    of rank: Int, schedule: RingSchedule, sizes: [Int], places: Places
  ) -> Int {
    aligned(sizes[rank])
      + schedule.slots(carriedBy: rank).count * places.count * room(sizes)
  }

  private static func room(_ sizes: [Int]) -> Int { aligned(sizes.max() ?? 0) }

  /// What lies in a slot at a turn.
  func piece(slot: Int, turn: Int, owner: Int) -> Piece {
    turn == 0
      ? memory.piece(of: slot, 0..<sizes[owner])
      : place(turn % places.alternating, slot: slot, owner: owner)
  }

  /// Where what the groups before have found out comes in.
  func incoming(slot: Int, owner: Int) -> Piece {
    place(places.alternating, slot: slot, owner: owner)
  }

  /// Where what all groups have found out about an own block comes in.
  func homecoming(slot: Int, owner: Int) -> Piece {
    place(places.alternating + 1, slot: slot, owner: owner)
  }

  private func place(_ place: Int, slot: Int, owner: Int) -> Piece {
    let members = schedule.groups[group]
    let (index, member) = slot.quotientAndRemainder(dividingBy: members.count)
    let start = aligned(sizes[members[member]]) + (index * places.count + place) * room
    return memory.piece(of: member, start..<start + sizes[owner])
  }
}
