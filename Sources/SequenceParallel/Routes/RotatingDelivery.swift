import MPI

/// From each group to the next, each run as far as the last that needs it; results home from there.
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
  /// - Complexity: O(runs).
  func traffic(of blocks: TravellingBlocks, groups: [[Int]], hosts: [Int]) -> StreamTraffic {
    let schedule = blocks.schedule(groups)
    let count = groups.count
    var traffic = StreamTraffic(hosts: hosts)
    traffic.steps = schedule.hops.max() ?? 0

    // What leaves each group through each slot for the next: a block from its own group to the one
    // before the last that it reaches, its result one group later.
    var leaving = [RangeSums](repeating: RangeSums(count: count), count: schedule.slots)
    for (owner, parcels) in schedule.parcels.enumerated() where schedule.hops[owner] > 0 {
      let (group, slot) = schedule.places[owner]
      func message(_ bytes: Int, where isSent: (Parcel) -> Bool) -> Message {
        blocks.message(of: owner, parcels, parcels.stretches(where: isSent), bytesPerToken: bytes)
      }
      // The same is sent on from the group where others end to that where these do.
      var start = 0
      for end in Set(parcels.map(\.hops)).sorted() where end > 0 {
        let block = message(blocks.bytes.block) { $0.hops >= end }
        let result = message(blocks.bytes.result) { $0.hops >= end }
        leaving[slot].add(block, ofRing: group + start, count: end - start)
        leaving[slot].add(result, ofRing: group + max(start, 1), count: end - max(start, 1))
        traffic.send(
          message(blocks.bytes.result) { $0.hops == end },
          from: schedule.carrier(group: group + end, slot: slot), to: owner)
        start = end
      }
    }
    for (slot, sums) in leaving.enumerated() {
      for (group, message) in sums.values.enumerated() where message.bytes > 0 {
        traffic.send(
          message, from: schedule.carrier(group: group, slot: slot),
          to: schedule.carrier(group: group + 1, slot: slot))
      }
    }

    // As the stream lays them out.
    let places = GroupSlots.Places(schedule: schedule, addsUp: false).count
    let resultPlaces = GroupSlots.Places(schedule: schedule, addsUp: true).count
    let most = schedule.parcels.enumerated().reduce(0.0) { most, owner in
      let sent = owner.element.stretches { $0.hops > 0 }
      return max(
        most,
        Double(sent.reduce(0) { $0 + blocks.tokens(of: owner.offset, owner.element, $1) }))
    }
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
