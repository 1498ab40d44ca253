import MPI

/// Where the blocks and results of a group lie.
///
/// Each member has a part of the group's memory: its own block, then room for what travels through
/// the slots that it carries: two places a slot, so that a block can come in while the one before
/// is computed on. Results have parts of the same form, with two more places a slot for what is to
/// be added: from the group before, and from the last groups that saw the own block. A place has
/// room for the parcels of a block that are sent, and no more.
struct GroupSlots {
  private let schedule: RingSchedule
  private let group: Int
  /// For each owner, where its parcels lie in its own memory, and where those that are sent do in a
  /// place.
  private let layouts: [(home: ParcelLayout, away: ParcelLayout)]
  /// Room for what is sent of a block of any owner.
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

  /// Makes the memory, called by all ranks of the group together.
  ///
  /// - Parameters:
  ///   - rank: this one.
  ///   - sizes: for each owner, for each run, the bytes of its block or result.
  ///   - wire: that of the group.
  init(
    schedule: RingSchedule, rank: Int, sizes: [[Int]], places: Places, wire: any Wire
  ) throws(MPIError) {
    self.places = places
    self.schedule = schedule
    group = schedule.places[rank].group
    layouts = zip(schedule.parcels, sizes).map { parcels, sizes in
      (ParcelLayout(parcels, sizes: sizes), ParcelLayout(parcels, sizes: sizes) { $0.hops > 0 })
    }
    room = aligned(layouts.reduce(0) { max($0, $1.away.byteCount) })
    let byteCount =
      aligned(layouts[rank].home.byteCount)
      + schedule.slots(carriedBy: rank).count * places.count * room
    memory = try StreamMemory(byteCount: byteCount, group: wire)
  }

  /// All of a rank's own block or result.
  func own(member: Int) -> Piece {
    memory.piece(of: member, 0..<layouts[schedule.groups[group][member]].home.byteCount)
  }

  /// Neighbouring parcels of what lies in a slot at a turn.
  func piece(slot: Int, turn: Int, owner: Int, _ parcels: Range<Int>) -> Piece {
    turn == 0
      ? memory.piece(of: slot, layouts[owner].home[parcels])
      : place(turn % places.alternating, slot: slot, owner: owner, parcels)
  }

  /// Where what the groups before have found out comes in.
  func incoming(slot: Int, owner: Int, _ parcels: Range<Int>) -> Piece {
    place(places.alternating, slot: slot, owner: owner, parcels)
  }

  /// Where what all groups have found out about an own block comes in.
  func homecoming(slot: Int, owner: Int, _ parcels: Range<Int>) -> Piece {
    place(places.alternating + 1, slot: slot, owner: owner, parcels)
  }

  private func place(_ place: Int, slot: Int, owner: Int, _ parcels: Range<Int>) -> Piece {
    let members = schedule.groups[group]
    let (index, member) = slot.quotientAndRemainder(dividingBy: members.count)
    let own = aligned(layouts[members[member]].home.byteCount)
    let range = layouts[owner].away[parcels]
    let start = own + (index * places.count + place) * room
    return memory.piece(of: member, start + range.lowerBound..<start + range.upperBound)
  }

  /// Gives the memory back, called by all ranks of the group together.
  func free() throws(MPIError) { try memory.free() }
}
