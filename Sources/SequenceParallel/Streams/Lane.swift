import MPI

/// What passes through one slot of a group: blocks, and the results that follow them home.
///
/// While the block of turn `t` is computed on, it is sent on, and that of turn `t + 1` comes in.
/// What a group finds out about a block is added to what the groups before it have, and sent after
/// the block; from the last group that sees the block it goes home. The rank that carries the slot
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
          into: [blocks.piece(slot: slot, turn: turn + 1, owner: owner)], of: owner,
          from: schedule.carrier(group: group - 1, slot: slot), tag: slot, on: wire)
      }
    }
    if !isSending {
      isSending = true
      if let owner = owner(turn: turn), turn < schedule.hops[owner] {
        try outgoing.send(
          [blocks.piece(slot: slot, turn: turn, owner: owner)], of: owner,
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

  private func clearResult(of owner: Int, turn: Int) {
    guard let results else { return }
    results.operations.clear(
      owner, results.slots.piece(slot: slot, turn: turn, owner: owner))
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
        if addsUp, !isReceivingResult {
          isReceivingResult = true
          incomingResult.receive(
            into: [results.slots.incoming(slot: slot, owner: owner)], of: owner,
            from: schedule.carrier(group: group - 1, slot: slot), tag: resultTag, on: wire)
        }
        guard counters.areVisits(slot, atLeast: plan.end(slot: slot, turn: resultTurn)),
          try incomingResult.isFinished()
        else { return }
        let sum = results.slots.piece(slot: slot, turn: resultTurn, owner: owner)
        if addsUp {
          results.operations.add(
            owner, sum, results.slots.incoming(slot: slot, owner: owner))
        }
        let isLast = resultTurn == schedule.hops[owner]
        try outgoingResults[resultTurn % 2].send(
          [sum], of: owner, to: isLast ? owner : schedule.carrier(group: group + 1, slot: slot),
          tag: isLast ? homeTag : resultTag, on: wire)
        isReceivingResult = false
      }
      resultTurn += 1
    }
  }

  /// Adds what the others have found out about this rank's own block to its own part.
  ///
  /// The receive is posted at once: a rank whose result nobody takes could not go on.
  private func takeHome(_ results: Results, on wire: any Wire) throws(MPIError) {
    if isHome { return }
    let sum = results.slots.homecoming(slot: slot, owner: rank)
    if !isAwaitingHomecoming {
      isAwaitingHomecoming = true
      homecoming.receive(
        into: [sum], of: rank,
        from: schedule.carrier(group: group + schedule.hops[rank], slot: slot), tag: homeTag,
        on: wire)
    }
    guard try homecoming.isFinished(), counters.areVisits(slot, atLeast: plan.end(slot: slot))
    else { return }
    results.operations.add(
      rank, results.slots.piece(slot: slot, turn: 0, owner: rank), sum)
    isHome = true
  }
}
