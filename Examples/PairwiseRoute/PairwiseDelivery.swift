package import MPI
package import SequenceParallel

// The example of Docs/Extend-Route.md: each rank gives its block to one other after the other, and
// gets one from another meanwhile.

package struct PairwiseDelivery: BlockDelivery {
  package let name = "pairwise"

  package init() {}

  package func obstacle(to grouping: Grouping) -> String? {
    grouping == .alone
      ? nil
      : "Blocks that go from rank to rank in pairs have no place that a host shares; use 'ring'."
  }

  package func traffic(
    of blocks: TravellingBlocks, groups: [[Int]], hosts: [Int]
  ) -> StreamTraffic {
    var traffic = StreamTraffic(hosts: hosts)
    traffic.steps = hosts.count - 1
    let most = Double(blocks.tokens.max() ?? 0)
    for rank in hosts.indices {
      let own = blocks.tokens[rank]
      let block = Message(tokens: own, bytesPerToken: blocks.bytes.block)
      let result = Message(tokens: own, bytesPerToken: blocks.bytes.result)
      for visitor in blocks.meetings.visitors[rank].ranges.joined() where visitor != rank {
        traffic.send(block, from: rank, to: visitor)
        traffic.send(result, from: visitor, to: rank)
      }
      traffic.blockBytes[rank] = (Double(own) + 2 * most) * Double(blocks.bytes.block)
      traffic.resultBytes[rank] = (2 * Double(own) + 2 * most) * Double(blocks.bytes.result)
    }
    return traffic
  }

  package func stream(
    of blocks: TravellingBlocks, groups: [[Int]], settings: StreamSettings,
    on world: borrowing Communicator
  ) throws(MPIError) -> any BlockStream {
    PairwiseStream(blocks, on: try MPIWire(duplicating: world))
  }

  package func order(of blocks: TravellingBlocks, groups: [[Int]]) -> RingSchedule {
    RingSchedule(groups: groups, meetings: blocks.meetings)
  }
}

extension Route {
  /// Each rank gives its block to one other after the other.
  package static let pairwise = Route(delivery: Delivery(PairwiseDelivery()))
}
