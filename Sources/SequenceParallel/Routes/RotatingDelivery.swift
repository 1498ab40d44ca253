import MPI

/// From each group to the next, as far as the last that needs the block; results home from there.
struct RotatingDelivery: BlockDelivery {
  let name = "rotating"

  func obstacle(to grouping: Grouping) -> String? { nil }

  func stream(
    of blocks: TravellingBlocks, groups: [[Int]], settings: StreamSettings,
    on world: borrowing Communicator
  ) throws(MPIError) -> any BlockStream {
    try RotatingStream(
      schedule: blocks.schedule(groups), sizes: blocks.sizes, overlaps: settings.overlaps,
      timeline: settings.timeline, on: world)
  }

  func order(of blocks: TravellingBlocks, groups: [[Int]]) -> RingSchedule {
    blocks.schedule(groups)
  }

  /// With groups of one rank, n bytes a block and a result and no block left out, a rank sends
  /// `(P − 1) · n` of blocks and of results each: a result is started by the first rank that is not
  /// the block's owner, and the owner keeps its own part.
  ///
  /// - Complexity: O(P).
  func traffic(of blocks: TravellingBlocks, groups: [[Int]], hosts: [Int]) -> StreamTraffic {
    let schedule = blocks.schedule(groups)
    let count = groups.count
    var traffic = StreamTraffic(hosts: hosts)
    traffic.steps = schedule.hops.max() ?? 0

    // What leaves each group through each slot for the next: a block from its own group to the one
    // before the last that it reaches, its result one group later.
    var leaving = [RingTally](repeating: RingTally(groups: count), count: schedule.slots)
    for (owner, hops) in schedule.hops.enumerated() where hops > 0 {
      let (group, slot) = schedule.places[owner]
      let block = Message(tokens: blocks.tokens[owner], bytesPerToken: blocks.bytes.block)
      let result = Message(tokens: blocks.tokens[owner], bytesPerToken: blocks.bytes.result)
      leaving[slot].add(block, from: group, count: hops)
      leaving[slot].add(result, from: group + 1, count: hops - 1)
      traffic.send(
        result, from: schedule.carrier(group: group + hops, slot: slot), to: owner)
    }
    for (slot, tally) in leaving.enumerated() {
      for (group, message) in tally.messages.enumerated() where message.bytes > 0 {
        traffic.send(
          message, from: schedule.carrier(group: group, slot: slot),
          to: schedule.carrier(group: group + 1, slot: slot))
      }
    }

    // As the stream lays them out.
    let places = GroupSlots.Places(schedule: schedule, addsUp: false).count
    let resultPlaces = GroupSlots.Places(schedule: schedule, addsUp: true).count
    let most = Double(blocks.tokens.max() ?? 0)
    for rank in hosts.indices {
      let carried = schedule.slotCount(carriedBy: rank)
      let own = Double(blocks.tokens[rank])
      traffic.blockBytes[rank] =
        (own + most * Double(carried * places)) * Double(blocks.bytes.block)
      traffic.resultBytes[rank] =
        (own + most * Double(carried * resultPlaces)) * Double(blocks.bytes.result)
    }
    return traffic
  }
}

/// Sums over stretches of a ring of groups, each added in constant time.
private struct RingTally {
  /// How much more there is at each group than at the one before; one more at the end.
  private var steps: [Message]

  init(groups: Int) {
    steps = [Message](repeating: Message(), count: groups + 1)
  }

  /// Adds the same to some groups, one after the other.
  mutating func add(_ message: Message, from group: Int, count: Int) {
    let groups = steps.count - 1
    let first = group % groups
    let end = first + count
    steps[first] += message
    steps[min(end, groups)] -= message
    if end > groups {
      steps[0] += message
      steps[end - groups] -= message
    }
  }

  /// The sum of each group.
  var messages: [Message] {
    var sum = Message()
    return steps.dropLast().map { step in
      sum += step
      return sum
    }
  }
}
