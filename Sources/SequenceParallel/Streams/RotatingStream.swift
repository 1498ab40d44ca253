import Attention
package import MPI

/// Blocks pass round a ring of groups; within a group they are read in place.
///
/// Groups of one rank are the ring of the paper (``PlainRing`` is it alone). One group is a node
/// whose ranks read each other's blocks in shared memory, where nothing is sent. Groups that are
/// nodes make a block cross each link of the network once, not once for each rank.
package final class RotatingStream: BlockStream {
  private let schedule: RingSchedule
  private let overlaps: Bool
  private let timeline: Timeline?
  private let wire: any Wire
  private let group: any Wire
  private let place: (group: Int, member: Int)
  private let blocks: GroupSlots
  private var results: GroupSlots?
  private let counters: GroupCounters
  /// For each slot, for each member, its visits in earlier runs.
  private var visitsBefore: [[Int]]
  /// Blocks that came into each slot in earlier runs.
  private var arrivalsBefore = 0

  /// Makes the memory and the counters, called by all ranks together.
  ///
  /// - Parameters:
  ///   - sizes: for each rank, the bytes of each run of its block.
  ///   - overlaps: false ends all transfers before computing, which shows what overlap is worth.
  ///   - timeline: where spans are noted.
  ///   - wire: the stream's alone.
  package init(
    schedule: RingSchedule, sizes: [[Int]], overlaps: Bool, timeline: Timeline?,
    on wire: any Wire
  ) throws(MPIError) {
    self.schedule = schedule
    self.overlaps = overlaps
    self.timeline = timeline
    self.wire = wire
    place = schedule.places[wire.rank]
    group = try wire.split(group: place.group, member: place.member)
    blocks = try GroupSlots(
      schedule: schedule, rank: wire.rank, sizes: sizes,
      places: GroupSlots.Places(schedule: schedule, addsUp: false), wire: group)
    counters = try GroupCounters(slots: schedule.slots, group: group)
    visitsBefore = Array(
      repeating: [Int](repeating: 0, count: group.size), count: schedule.slots)
  }

  package var traffic: Traffic { wire.traffic }

  package var ownBlock: Piece { blocks.own(member: place.member) }
  package var ownResult: Piece { resultSlots.own(member: place.member) }
  package var ownParcels: [Range<Int>] { schedule.parcels[wire.rank].map(\.runs) }

  private var resultSlots: GroupSlots {
    guard let results else { preconditionFailure("no room was made for results") }
    return results
  }

  package func reserveResults(_ sizes: [[Int]]) throws(MPIError) {
    if results != nil { return }
    results = try GroupSlots(
      schedule: schedule, rank: wire.rank, sizes: sizes,
      places: GroupSlots.Places(schedule: schedule, addsUp: true), wire: group)
  }

  package func run(
    results operations: ResultOperations?, visit: (Visit, _ poll: () -> Void) -> Void
  ) throws(MPIError) -> Timing {
    // Where results travel, a half of each own block is kept for the end: it covers the last way
    // home, as the first half covers the first block's way here.
    let isSplit = operations != nil && schedule.hops.contains { $0 > 0 }
    let plan = VisitPlan(
      schedule: schedule, group: place.group, isSplit: isSplit, counted: visitsBefore)
    let lanes = lanes(plan, operations)
    var visits = TimedVisits(interval: wire.lookInterval, looks: overlaps, timeline: timeline)
    for turn in 0..<schedule.turns + (isSplit ? 1 : 0) {
      if !overlaps { try visits.wait { () throws(MPIError) in try settle(lanes, after: turn) } }
      for slot in schedule.slotOrder(member: place.member)
      where plan.visits(member: place.member, slot: slot, turn: turn) {
        let before =
          operations == nil
          ? nil : plan.predecessor(slot: slot, turn: turn, member: place.member)
        try meet(
          slot, turn, isSplit: isSplit, results: operations == nil ? nil : resultSlots,
          after: before, lanes, &visits, visit)
      }
    }
    try visits.wait("wait for the last transfers") { () throws(MPIError) in
      try wait(lanes, for: "the last transfers") { () throws(MPIError) in
        for lane in lanes where try !lane.isFinished() { return false }
        return true
      }
    }
    for slot in visitsBefore.indices { visitsBefore[slot] = plan.end(slot: slot) }
    arrivalsBefore += schedule.turns
    return visits.timing
  }

  /// Meets what lies in a slot at a turn, of which the one past the last is the first again.
  ///
  /// - Parameters:
  ///   - results: where results lie; nil if there are none.
  ///   - before: who has to have been there so often: members that add to the same result take
  ///     turns.
  private func meet(
    _ slot: Int, _ turn: Int, isSplit: Bool, results: GroupSlots?,
    after before: (member: Int, count: Int)?, _ lanes: [Lane], _ visits: inout TimedVisits,
    _ visit: (Visit, _ poll: () -> Void) -> Void
  ) throws(MPIError) {
    let isAgain = turn == schedule.turns
    let blockTurn = isAgain ? 0 : turn
    guard let owner = schedule.owner(group: place.group, turn: blockTurn, slot: slot) else {
      return
    }
    let part: BlockPart = isAgain ? .secondHalf : isSplit && turn == 0 ? .firstHalf : .whole
    // What this rank sees has come this far.
    let parcels = schedule.parcels[owner].enumerated().compactMap { index, parcel in
      parcel.visitors.contains(wire.rank)
        ? Visit(
          owner: owner, runs: parcel.runs, part: part,
          block: blocks.piece(slot: slot, turn: blockTurn, owner: owner, index..<index + 1),
          result: results?.piece(slot: slot, turn: blockTurn, owner: owner, index..<index + 1)
            ?? .nothing) : nil
    }
    try visits.make(
      owner, parcels,
      wait: { () throws(MPIError) in
        try wait(lanes, for: "the block of rank \(owner)") {
          self.counters.arrivals(slot) > self.arrivalsBefore + blockTurn
            && (before.map { self.counters.visits(slot, of: $0.member) >= $0.count } ?? true)
        }
      },
      look: { [wire] () throws(MPIError) in
        for lane in lanes { try lane.advance(on: wire) }
      }, compute: visit)
    counters.countVisit(slot, of: place.member)
  }

  private func lanes(_ plan: VisitPlan, _ operations: ResultOperations?) -> [Lane] {
    schedule.slots(carriedBy: wire.rank).map { slot in
      Lane(
        slot: slot, rank: wire.rank, schedule: schedule, plan: plan, counters: counters,
        blocks: blocks,
        results: operations.map { Lane.Results(slots: resultSlots, operations: $0) },
        timeline: timeline)
    }
  }

  private func wait(
    _ lanes: [Lane], for what: @autoclosure () -> String,
    until isOver: () throws(MPIError) -> Bool
  ) throws(MPIError) {
    try wire.wait(for: what()) { () throws(MPIError) in
      for lane in lanes { try lane.advance(on: wire) }
      return try isOver()
    }
  }

  private func settle(_ lanes: [Lane], after turn: Int) throws(MPIError) {
    try wait(lanes, for: "the transfers of a turn") { () throws(MPIError) in
      for lane in lanes where try !lane.isSettled(after: turn) { return false }
      return true
    }
  }

  package func close() throws(MPIError) {
    try blocks.free()
    try counters.free()
    try results?.free()
  }
}

extension RotatingStream {
  /// Connects the processes of an MPI job, called by all ranks together.
  package convenience init(
    schedule: RingSchedule, sizes: [[Int]], overlaps: Bool, timeline: Timeline?,
    on world: borrowing Communicator
  ) throws(MPIError) {
    try self.init(
      schedule: schedule, sizes: sizes, overlaps: overlaps, timeline: timeline,
      on: MPIWire(duplicating: world))
  }
}
