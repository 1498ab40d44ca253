import MPI

/// From each owner to all ranks what they see of the block, at once, and results straight back.
struct DirectDelivery: BlockDelivery {
  let name = "direct"

  func obstacle(to grouping: Grouping) -> String? {
    switch grouping {
    case .alone: nil
    case .hosts:
      "Blocks that go to all ranks at once have no place that a host shares; use 'hierarchical' or "
        + "'allgather'."
    case .all:
      "Ranks that read each other's blocks in place deliver none; use 'shared' or 'allgather'."
    }
  }

  func stream(
    of blocks: TravellingBlocks, groups: [[Int]], settings: StreamSettings,
    on world: borrowing Communicator
  ) throws(MPIError) -> any BlockStream {
    try DirectStream(
      parcels: blocks.meetings.parcelsByVisitors, sizes: blocks.sizes,
      overlaps: settings.overlaps, timeline: settings.timeline, on: world)
  }

  func order(of blocks: TravellingBlocks, groups: [[Int]]) -> RingSchedule {
    RingSchedule(groups: groups, meetings: blocks.meetings)
  }

  /// - Complexity: O(runs) for ranks that see each other in few ranges, and the ranks of hosts.
  func traffic(of blocks: TravellingBlocks, groups: [[Int]], hosts: [Int]) -> StreamTraffic {
    var traffic = StreamTraffic(hosts: hosts)
    let neighbours = Dictionary(grouping: hosts.indices) { hosts[$0] }
    let shares = blocks.meetings.parcelsByVisitors.enumerated().map { owner, parcels in
      parcels.handouts.map { Share($0, owner, parcels, blocks) }
    }
    // What each rank sees, its own included, and what it has found out about it.
    var seen = RangeSums(count: hosts.count)
    var found = RangeSums(count: hosts.count)
    var most = 0
    for (owner, shares) in shares.enumerated() {
      for share in shares {
        seen.add(share.block, to: share.ranks)
        found.add(share.result, to: share.ranks)
        if share.ranks != owner..<owner + 1 { most = max(most, share.tokens) }
      }
    }
    let (held, sentHome) = (seen.values, found.values)
    for rank in hosts.indices {
      let here = neighbours[hosts[rank]] ?? []
      let own = shares[rank].first { $0.ranks.contains(rank) }
      for share in shares[rank] {
        let receivers = share.ranks.count - (share.ranks.contains(rank) ? 1 : 0)
        let near = here.count { $0 != rank && share.ranks.contains($0) }
        traffic.send(
          share.block, times: receivers, toOtherHosts: receivers - near, from: rank)
        if receivers > 0 { traffic.steps = 1 }
      }
      let home = sentHome[rank] - (own?.result ?? Message())
      let homeHere = here.reduce(Message()) { sum, owner in
        guard owner != rank, let share = shares[owner].first(where: { $0.ranks.contains(rank) })
        else { return sum }
        return sum + share.result
      }
      traffic.send(home, toOtherHosts: home - homeHere, from: rank)
      let block = Double(blocks.tokens[rank]) * Double(blocks.bytes.block)
      traffic.blockBytes[rank] = held[rank].bytes - (own?.block.bytes ?? 0) + block
      traffic.resultBytes[rank] =
        DirectResults.tokens(own: Double(blocks.tokens[rank]), most: Double(most))
        * Double(blocks.bytes.result)
    }
    return traffic
  }

  /// What some ranks get of a block, each the same.
  private struct Share {
    let ranks: Range<Int>
    let tokens: Int
    let block: Message
    let result: Message

    init(_ handout: Handout, _ owner: Int, _ parcels: [Parcel], _ blocks: TravellingBlocks) {
      func message(_ bytes: Int) -> Message {
        blocks.message(of: owner, parcels, handout.stretches, bytesPerToken: bytes)
      }
      ranks = handout.ranks
      tokens = handout.stretches.reduce(0) { $0 + blocks.tokens(of: owner, parcels, $1) }
      block = message(blocks.bytes.block)
      result = message(blocks.bytes.result)
    }
  }
}
