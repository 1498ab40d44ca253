import Attention
import MPI

/// Blocks pass round a ring of groups; within a group they are read in place.
///
/// Groups of one rank are the ring of the paper. One group is a node whose ranks read each other's
/// blocks in shared memory, where nothing is sent. Groups that are nodes make a block cross each
/// link of the network once, not once for each rank.
final class RotatingStream: BlockStream {
  private let schedule: RingSchedule
  private let sizes: [Int]
  private let overlaps: Bool
  private let timeline: Timeline?
  private let ring: Communicator
  private let group: Communicator
  private let place: (group: Int, member: Int)
  private var blockMemory: GroupMemory
  private let blocks: GroupSlots
  private var resultMemory: GroupMemory?
  private var results: GroupSlots?
  private let counters: GroupCounters
  /// For each slot, for each member, its visits in earlier runs.
  private var visitsBefore: [[Int]]
  /// Blocks that came into each slot in earlier runs.
  private var arrivalsBefore = 0

  /// Makes the memory and the communicators, called by all ranks together.
  ///
  /// - Parameters:
  ///   - sizes: for each rank, the bytes of its block.
  ///   - overlaps: false ends all transfers before computing, which shows what overlap is worth.
  ///   - timeline: where spans are noted.
  init(
    schedule: RingSchedule, sizes: [Int], overlaps: Bool, timeline: Timeline?,
    on world: borrowing Communicator
  ) throws(MPIError) {
    self.schedule = schedule
    self.sizes = sizes
    self.overlaps = overlaps
    self.timeline = timeline
    place = schedule.places[world.rank]
    ring = try world.duplicate()
    guard let group = try world.split(color: place.group, key: place.member) else {
      preconditionFailure("every rank is in a group")
    }
    let places = GroupSlots.Places(schedule: schedule, addsUp: false)
    blockMemory = try GroupMemory(
      byteCount: GroupSlots.byteCount(
        of: world.rank, schedule: schedule, sizes: sizes, places: places), group: group)
    blocks = unsafe GroupSlots(
      schedule: schedule, group: place.group, sizes: sizes, places: places,
      parts: blockMemory.parts(of: group))
    counters = try GroupCounters(slots: schedule.slots, group: group)
    visitsBefore = Array(
      repeating: [Int](repeating: 0, count: group.size), count: schedule.slots)
    self.group = group
  }

  var traffic: Traffic { ring.traffic }

  var ownBlock: UnsafeMutableRawBufferPointer {
    unsafe blocks.bytes(slot: place.member, turn: 0, owner: ring.rank)
  }

  var ownResult: UnsafeMutableRawBufferPointer {
    guard let results else { preconditionFailure("no room was made for results") }
    return unsafe results.bytes(slot: place.member, turn: 0, owner: ring.rank)
  }

  func reserveResults(_ sizes: [Int]) throws(MPIError) {
    if results != nil { return }
    let places = GroupSlots.Places(schedule: schedule, addsUp: true)
    let memory = try GroupMemory(
      byteCount: GroupSlots.byteCount(
        of: ring.rank, schedule: schedule, sizes: sizes, places: places), group: group)
    results = unsafe GroupSlots(
      schedule: schedule, group: place.group, sizes: sizes, places: places,
      parts: memory.parts(of: group))
    resultMemory = consume memory
  }

  func run(
    results operations: ResultOperations?, visit: (Visit, _ poll: () -> Void) -> Void
  ) throws(MPIError) -> Timing {
    // Where results travel, a half of each own block is kept for the end: it covers the last way
    // home, as the first half covers the first block's way here.
    let isSplit = operations != nil && schedule.hops.contains { $0 > 0 }
    let plan = VisitPlan(
      schedule: schedule, group: place.group, isSplit: isSplit, counted: visitsBefore)
    let lanes = lanes(plan, operations)
    var timing = Timing()
    var poller = TransferPoller(isOn: overlaps)
    for turn in 0..<schedule.turns + (isSplit ? 1 : 0) {
      let isAgain = turn == schedule.turns
      if !overlaps { try settle(lanes, after: turn, &timing) }
      for slot in schedule.slotOrder(member: place.member) {
        guard plan.visits(member: place.member, slot: slot, turn: turn) else { continue }
        let blockTurn = isAgain ? 0 : turn
        guard let owner = schedule.owner(group: place.group, turn: blockTurn, slot: slot) else {
          continue
        }
        // Those who add to the same result take turns.
        let before =
          operations == nil
          ? nil : plan.predecessor(slot: slot, turn: turn, member: place.member)
        let start = ContinuousClock.now
        try wait(lanes, for: "the block of rank \(owner)") {
          self.counters.arrivals(slot) > self.arrivalsBefore + blockTurn
            && (before.map { self.counters.visits(slot, of: $0.member) >= $0.count } ?? true)
        }
        let ready = ContinuousClock.now
        unsafe visit(
          Visit(
            owner: owner,
            part: isAgain ? .secondHalf : isSplit && turn == 0 ? .firstHalf : .whole,
            block: unsafe blocks.bytes(slot: slot, turn: blockTurn, owner: owner),
            result: unsafe operations == nil
              ? UnsafeMutableRawBufferPointer(start: nil, count: 0)
              : resultBytes(slot: slot, turn: blockTurn, owner: owner))
        ) {
          poller.poll { () throws(MPIError) in
            for lane in lanes { try lane.advance(on: ring) }
          }
        }
        try poller.throwFailure()
        counters.countVisit(slot, of: place.member)
        let end = ContinuousClock.now
        timing.waiting += ready - start
        timing.computing += end - ready
        timeline?.note(.waiting, "wait for \(owner)", from: start, to: ready)
        timeline?.note(.computing, "block of \(owner)", from: ready, to: end)
      }
    }
    let start = ContinuousClock.now
    try wait(lanes, for: "the last transfers") { () throws(MPIError) in
      for lane in lanes where try !lane.isFinished() { return false }
      return true
    }
    timing.waiting += ContinuousClock.now - start
    timeline?.note(.waiting, "wait for the last transfers", from: start, to: .now)
    for slot in visitsBefore.indices { visitsBefore[slot] = plan.end(slot: slot) }
    arrivalsBefore += schedule.turns
    return timing
  }

  private func lanes(_ plan: VisitPlan, _ operations: ResultOperations?) -> [Lane] {
    schedule.slots(carriedBy: ring.rank).map { slot in
      Lane(
        slot: slot, rank: ring.rank, schedule: schedule, plan: plan, counters: counters,
        blocks: blocks,
        results: operations.map { operations in
          guard let results else { preconditionFailure("no room was made for results") }
          return Lane.Results(slots: results, operations: operations)
        }, timeline: timeline)
    }
  }

  private func resultBytes(slot: Int, turn: Int, owner: Int) -> UnsafeMutableRawBufferPointer {
    guard let results else { preconditionFailure("no room was made for results") }
    return unsafe results.bytes(slot: slot, turn: turn, owner: owner)
  }

  private func wait(
    _ lanes: [Lane], for what: @autoclosure () -> String,
    until isOver: () throws(MPIError) -> Bool
  ) throws(MPIError) {
    try ring.wait(for: what()) { () throws(MPIError) in
      for lane in lanes { try lane.advance(on: ring) }
      return try isOver()
    }
  }

  private func settle(
    _ lanes: [Lane], after turn: Int, _ timing: inout Timing
  ) throws(MPIError) {
    let start = ContinuousClock.now
    try wait(lanes, for: "the transfers of a turn") { () throws(MPIError) in
      for lane in lanes where try !lane.isSettled(after: turn) { return false }
      return true
    }
    timing.waiting += ContinuousClock.now - start
  }

  func close() throws(MPIError) {
    try blockMemory.free()
    try counters.free()
    if var memory = resultMemory.take() { try memory.free() }
  }
}
