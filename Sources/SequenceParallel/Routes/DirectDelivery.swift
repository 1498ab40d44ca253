import MPI

/// From each owner to all ranks that see the block, at once, and results straight back.
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
      ranks: world.size, sees: blocks.meetings.meets, sizes: blocks.sizes,
      overlaps: settings.overlaps, timeline: settings.timeline, on: world)
  }

  func order(of blocks: TravellingBlocks, groups: [[Int]]) -> RingSchedule {
    RingSchedule(groups: groups, meetings: blocks.meetings)
  }

  /// - Complexity: O(P) for ranks that see each other in few ranges, and the ranks of hosts.
  func traffic(of blocks: TravellingBlocks, groups: [[Int]], hosts: [Int]) -> StreamTraffic {
    var traffic = StreamTraffic(hosts: hosts)
    let neighbours = Dictionary(grouping: hosts.indices) { hosts[$0] }
    let sizes = Tally(
      blocks.tokens.map { Message(tokens: $0, bytesPerToken: blocks.bytes.block) })
    let results = Tally(
      blocks.tokens.map { Message(tokens: $0, bytesPerToken: blocks.bytes.result) })
    let most = Double(blocks.tokens.max() ?? 0)
    for rank in hosts.indices {
      let here = neighbours[hosts[rank]] ?? []
      let (visitors, owners) = (blocks.meetings.visitors[rank], blocks.meetings.owners[rank])
      let receivers = visitors.count - (visitors.contains(rank) ? 1 : 0)
      let receiversHere = here.count { $0 != rank && visitors.contains($0) }
      traffic.send(
        sizes.messages[rank], times: receivers, toOtherHosts: receivers - receiversHere,
        from: rank)
      let own = owners.contains(rank) ? results.messages[rank] : Message()
      let home = owners.ranges.reduce(Message()) { $0 + results.sum($1) } - own
      let homeHere = here.reduce(Message()) {
        $1 != rank && owners.contains($1) ? $0 + results.messages[$1] : $0
      }
      traffic.send(home, toOtherHosts: home - homeHere, from: rank)
      if receivers > 0 { traffic.steps = 1 }
      let held = owners.ranges.reduce(Message()) { $0 + sizes.sum($1) }
      traffic.blockBytes[rank] =
        held.bytes + (owners.contains(rank) ? 0 : sizes.messages[rank].bytes)
      traffic.resultBytes[rank] =
        DirectResults.tokens(own: Double(blocks.tokens[rank]), most: most)
        * Double(blocks.bytes.result)
    }
    return traffic
  }
}

/// Sums over ranges of owners.
private struct Tally {
  let messages: [Message]
  private var ends: [Message] = [Message()]

  init(_ messages: [Message]) {
    self.messages = messages
    for message in messages { ends.append(ends[ends.count - 1] + message) }
  }

  func sum(_ owners: Range<Int>) -> Message { ends[owners.upperBound] - ends[owners.lowerBound] }
}
