/// Where the blocks and results of a group lie.
///
/// Each member has a part of the group's memory: its own block, then room for what travels through
/// the slots that it carries: two places a slot, so that a block can come in while the one before
/// is computed on. Results have parts of the same form, with two more places a slot for what is to
/// be added: from the group before, and from the last group that saw the own block.
@safe
struct GroupSlots {
  private let schedule: RingSchedule
  private let group: Int
  /// Bytes for each owner.
  private let sizes: [Int]
  /// Room for a block of any owner.
  private let room: Int
  private let places: Places
  /// The members' parts.
  private let parts: [UnsafeMutableRawBufferPointer]

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
  ///   - parts: for each member of the group, at least ``byteCount(of:schedule:sizes:places:)``.
  init(
    schedule: RingSchedule, group: Int, sizes: [Int], places: Places,
    parts: [UnsafeMutableRawBufferPointer]
  ) {
    self.places = places
    self.schedule = schedule
    self.group = group
    self.sizes = sizes
    room = Self.room(sizes)
    unsafe self.parts = parts
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
  func bytes(slot: Int, turn: Int, owner: Int) -> UnsafeMutableRawBufferPointer {
    turn == 0
      ? unsafe slice(parts[slot], from: 0, count: sizes[owner])
      : unsafe place(turn % places.alternating, slot: slot, owner: owner)
  }

  /// Where what the groups before have found out comes in.
  func incoming(slot: Int, owner: Int) -> UnsafeMutableRawBufferPointer {
    unsafe place(places.alternating, slot: slot, owner: owner)
  }

  /// Where what all groups have found out about an own block comes in.
  func homecoming(slot: Int, owner: Int) -> UnsafeMutableRawBufferPointer {
    unsafe place(places.alternating + 1, slot: slot, owner: owner)
  }

  private func place(_ place: Int, slot: Int, owner: Int) -> UnsafeMutableRawBufferPointer {
    let members = schedule.groups[group]
    let (index, member) = slot.quotientAndRemainder(dividingBy: members.count)
    let start = aligned(sizes[members[member]]) + (index * places.count + place) * room
    return unsafe slice(parts[member], from: start, count: sizes[owner])
  }

  private func slice(
    _ bytes: UnsafeMutableRawBufferPointer, from start: Int, count: Int
  ) -> UnsafeMutableRawBufferPointer {
    unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[start..<start + count])
  }
}

/// The next multiple of a cache line: nothing that is written by different ranks shares one.
func aligned(_ bytes: Int) -> Int { (bytes + 63) / 64 * 64 }
