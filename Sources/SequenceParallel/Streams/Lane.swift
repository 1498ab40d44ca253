import MPI

/// What passes through one slot of a group: blocks, and the results that follow them home.
///
/// While the block of turn `t` is computed on, it is sent on, and that of turn `t + 1` comes in.
/// What a group finds out about a block is added to what the groups before it have, and sent after
/// the block; from the last group that sees a parcel it goes home. The rank that carries the slot
/// moves the lane on while it computes, a few thousand times a second, and while it waits: nothing
/// here ever waits.
final class Lane {
  private let slot: Int
  private let rank: Int
  private let group: Int
  private let schedule: RingSchedule
  private let plan: VisitPlan
  private let counters: GroupCounters
  private let blocks: GroupSlots
  private let results: Results?

  /// Results and what is done with them.
  struct Results {
    let slots: GroupSlots
    let operations: ResultOperations
  }

  /// The turn whose block is in the slot.
  private(set) var turn = 0
  private var isSending = false
  private var isReceiving = false
  private let outgoing: Transfer
  private let incoming: Transfer

  /// The next turn whose results are to be passed on.
  private var resultTurn = 1
  private var isReceivingResult = false
  private let outgoingResults: [Transfer]
  private let incomingResult: Transfer
  private let homecoming: Transfer
  private var isAwaitingHomecoming = false
  private var isHome: Bool

  /// Starts with the slot's block of the first turn.
  init(
    slot: Int, rank: Int, schedule: RingSchedule, plan: VisitPlan, counters: GroupCounters,
    blocks: GroupSlots, results: Results?, timeline: Timeline?
  ) {
    self.slot = slot
    self.rank = rank
    self.schedule = schedule
    self.plan = plan
    self.counters = counters
    self.blocks = blocks
    self.results = results
    group = schedule.places[rank].group
    outgoing = Transfer("send block", timeline)
    incoming = Transfer("receive block", timeline)
    outgoingResults = (0..<2).map { _ in Transfer("send result", timeline) }
    incomingResult = Transfer("receive result", timeline)
    homecoming = Transfer("receive result", timeline)
    isHome =
      results == nil || slot != schedule.places[rank].member || schedule.hops[rank] == 0
    if slot == schedule.places[rank].member { clearResult(of: rank, turn: 0) }
    counters.countArrival(slot)
  }

  /// Moves on what can be moved on.
  func advance(on wire: any Wire) throws(MPIError) {
    try advanceBlocks(on: wire)
    guard let results else { return }
    try advanceResults(results, on: wire)
    try takeHome(results, on: wire)
  }

  /// Whether the block of a turn has been sent on and the next one is here.
  func isSettled(after turn: Int) throws(MPIError) -> Bool {
    if self.turn > turn { return true }
    guard self.turn + 1 == schedule.turns else { return false }
    return try outgoing.isFinished()
  }

  /// Whether everything that this run brings has passed, and everybody has seen it.
  func isFinished() throws(MPIError) -> Bool {
    guard try isSettled(after: schedule.turns - 1), try incoming.isFinished() else { return false }
    for transfer in outgoingResults where try !transfer.isFinished() { return false }
    return isHome && (results == nil || resultTurn == schedule.turns)
      && counters.areVisits(slot, atLeast: plan.end(slot: slot))
  }

  // MARK: Blocks

  private func advanceBlocks(on wire: any Wire) throws(MPIError) {
    guard turn + 1 < schedule.turns else { return }
    // The receive is posted before the send, so that no block arrives unexpected. The place that
    // the next block takes is that of the turn before this one.
    if !isReceiving,
      turn < 2 || counters.areVisits(slot, atLeast: plan.end(slot: slot, turn: turn - 1))
    {
      isReceiving = true
      if let owner = owner(turn: turn + 1) {
        incoming.receive(
          into: pieces(of: blocks, turn: turn + 1, owner: owner) { $0 > turn }, of: owner,
          from: schedule.carrier(group: group - 1, slot: slot), tag: slot, on: wire)
      }
    }
    if !isSending {
      isSending = true
      if let owner = owner(turn: turn), turn < schedule.hops[owner] {
        try outgoing.send(
          pieces(of: blocks, turn: turn, owner: owner) { $0 > turn }, of: owner,
          to: schedule.carrier(group: group + 1, slot: slot), tag: slot, on: wire)
      }
    }
    guard try outgoing.isFinished(), isReceiving, try incoming.isFinished() else { return }
    if results != nil {
      // Results of the next turn take the place of those of the turn before this one.
      guard resultTurn >= turn, try outgoingResults[(turn + 1) % 2].isFinished() else { return }
    }
    turn += 1
    isSending = false
    isReceiving = false
    if let owner = owner(turn: turn) { clearResult(of: owner, turn: turn) }
    counters.countArrival(slot)
  }

  private func owner(turn: Int) -> Int? {
    schedule.owner(group: group, turn: turn, slot: slot)
  }

  /// What lies in the slot at a turn of the parcels that are sent so far.
  private func pieces(
    of slots: GroupSlots, turn: Int, owner: Int, where isMeant: (_ hops: Int) -> Bool
  ) -> [Piece] {
    schedule.parcels[owner].stretches { isMeant($0.hops) }.map {
      slots.piece(slot: slot, turn: turn, owner: owner, $0)
    }
  }

  private func clearResult(of owner: Int, turn: Int) {
    guard let results else { return }
    for (index, parcel) in schedule.parcels[owner].enumerated() where parcel.hops >= turn {
      results.operations.clear(
        owner, parcel.runs,
        results.slots.piece(slot: slot, turn: turn, owner: owner, index..<index + 1))
    }
  }

  // MARK: Results

  private var resultTag: Int { schedule.slots + slot }
  private var homeTag: Int { 2 * schedule.slots + slot }

  /// Passes on what this group and those before it have found out.
  private func advanceResults(
    _ results: Results, on wire: any Wire
  ) throws(MPIError) {
    while resultTurn < schedule.turns, resultTurn <= turn {
      if let owner = owner(turn: resultTurn) {
        let addsUp = resultTurn > 1
        let parcels = schedule.parcels[owner]
        if addsUp, !isReceivingResult {
          isReceivingResult = true
          incomingResult.receive(
            into: parcels.stretches { $0.hops >= resultTurn }.map {
              results.slots.incoming(slot: slot, owner: owner, $0)
            }, of: owner,
            from: schedule.carrier(group: group - 1, slot: slot), tag: resultTag, on: wire)
        }
        guard counters.areVisits(slot, atLeast: plan.end(slot: slot, turn: resultTurn)),
          try incomingResult.isFinished()
        else { return }
        for (index, parcel) in parcels.enumerated() where addsUp && parcel.hops >= resultTurn {
          let here = index..<index + 1
          results.operations.add(
            owner, parcel.runs,
            results.slots.piece(slot: slot, turn: resultTurn, owner: owner, here),
            results.slots.incoming(slot: slot, owner: owner, here))
        }
        try sendResults(results.slots, of: owner, on: wire)
        isReceivingResult = false
      }
      resultTurn += 1
    }
  }

  /// Sends what is known now after the block, and home where the block goes no further.
  private func sendResults(
    _ slots: GroupSlots, of owner: Int, on wire: any Wire
  ) throws(MPIError) {
    let transfer = outgoingResults[resultTurn % 2]
    try transfer.send(
      pieces(of: slots, turn: resultTurn, owner: owner) { $0 > resultTurn }, of: owner,
      to: schedule.carrier(group: group + 1, slot: slot), tag: resultTag, on: wire)
    try transfer.send(
      pieces(of: slots, turn: resultTurn, owner: owner) { $0 == resultTurn }, of: owner,
      to: owner, tag: homeTag, on: wire)
  }

  /// Adds what the others have found out about this rank's own block to its own part.
  ///
  /// The receive is posted at once: a rank whose result nobody takes could not go on.
  private func takeHome(_ results: Results, on wire: any Wire) throws(MPIError) {
    if isHome { return }
    let parcels = schedule.parcels[rank]
    if !isAwaitingHomecoming {
      isAwaitingHomecoming = true
      for hops in Set(parcels.map(\.hops)).sorted() where hops > 0 {
        homecoming.receive(
          into: parcels.stretches { $0.hops == hops }.map {
            results.slots.homecoming(slot: slot, owner: rank, $0)
          }, of: rank, from: schedule.carrier(group: group + hops, slot: slot), tag: homeTag,
          on: wire)
      }
    }
    guard try homecoming.isFinished(), counters.areVisits(slot, atLeast: plan.end(slot: slot))
    else { return }
    for (index, parcel) in parcels.enumerated() where parcel.hops > 0 {
      let here = index..<index + 1
      results.operations.add(
        rank, parcel.runs, results.slots.piece(slot: slot, turn: 0, owner: rank, here),
        results.slots.homecoming(slot: slot, owner: rank, here))
    }
    isHome = true
  }
}
