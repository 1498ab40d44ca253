import Attention
import SequenceParallel
import Sharding
import Tensors
import Testing

@Suite("The schedule of the ring")
struct RingScheduleTests {
  private func schedule(
    _ layout: Layout, tokens: Int, groups: [[Int]], pattern: any AttentionPattern
  ) -> RingSchedule {
    let ranks = groups.reduce(0) { $0 + $1.count }
    let shards = Sharding(layout, tokens: tokens, ranks: ranks).shards
    return RingSchedule(groups: groups) {
      pattern.reaches(keys: shards[$1], queries: shards[$0])
    }
  }

  /// Ranks in groups of at most `size`.
  private func groups(ranks: Int, size: Int) -> [[Int]] {
    stride(from: 0, to: ranks, by: size).map { Array($0..<min($0 + size, ranks)) }
  }

  /// Follows the blocks from carrier to carrier and notes which rank computes on which.
  @Test(
    "every rank meets every block it needs, once, and each message has two ends",
    arguments: Layout.allCases, [1, 2, 3, 4, 5, 7, 8])
  func follow(layout: Layout, ranks: Int) {
    for tokens in [0, 1, ranks - 1, ranks, 3 * ranks + 1, 64] {
      for pattern in [FullPattern(), CausalPattern()] as [any AttentionPattern] {
        for size in [1, 2, 3, ranks] {
          let schedule = schedule(
            layout, tokens: tokens, groups: groups(ranks: ranks, size: size), pattern: pattern)
          let shards = Sharding(layout, tokens: tokens, ranks: ranks).shards
          var held: [Int: [Int: Int]] = [:]
          for (group, members) in schedule.groups.enumerated() {
            held[group] = Dictionary(
              uniqueKeysWithValues: members.enumerated().map { ($0, $1) })
          }
          var met = Array(repeating: [Int](), count: ranks)
          for turn in 0..<schedule.turns {
            for (group, members) in schedule.groups.enumerated() {
              for slot in 0..<schedule.slots {
                guard let owner = schedule.owner(group: group, turn: turn, slot: slot) else {
                  continue
                }
                // What the schedule says lies there has been sent there.
                #expect(held[group]?[slot] == owner)
                for member in schedule.visitors(group: group, slot: slot, owner: owner) {
                  met[members[member]].append(owner)
                }
              }
            }
            let before = held
            for group in schedule.groups.indices {
              let previous = (group - 1 + schedule.groups.count) % schedule.groups.count
              held[group] = before[previous]?.filter { schedule.hops[$0.value] > turn }
            }
          }
          for rank in 0..<ranks {
            let needed = shards.indices.filter {
              pattern.reaches(keys: shards[$0], queries: shards[rank])
            }
            #expect(met[rank].sorted() == needed)
          }
        }
      }
    }
  }

  @Test("each slot has one carrier in each group, and every rank carries its own")
  func carriers() {
    for ranks in 1...8 {
      for size in 1...ranks {
        let schedule = schedule(
          .contiguous, tokens: 64, groups: groups(ranks: ranks, size: size),
          pattern: FullPattern())
        for rank in 0..<ranks {
          let (group, member) = schedule.places[rank]
          #expect(schedule.slots(carriedBy: rank).contains(member))
          for slot in 0..<schedule.slots {
            #expect(
              schedule.slots(carriedBy: rank).contains(slot)
                == (schedule.carrier(group: group, slot: slot) == rank))
          }
          #expect(schedule.slotOrder(member: member).first == member)
          #expect(schedule.slotOrder(member: member).sorted() == Array(0..<schedule.slots))
        }
      }
    }
  }

  @Test func nothingIsSentThatNobodyNeeds() {
    let causal = schedule(
      .contiguous, tokens: 40, groups: groups(ranks: 4, size: 1), pattern: CausalPattern())
    let blocks = [1, 10, 100, 1000]
    #expect(
      (0..<4).map { causal.bytesSent(by: $0, blocks: blocks, results: [0, 0, 0, 0]) }
        == [1, 11, 111, 0])
    // Each rank sends on what it and those before it know of earlier blocks.
    #expect(
      (0..<4).map { causal.bytesSent(by: $0, blocks: [0, 0, 0, 0], results: blocks) }
        == [0, 1, 11, 111])

    struct OwnSegment: AttentionPattern {
      func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
        keys.start / 10 == queries.start / 10 ? .all : .none
      }
      func fill(
        _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, head: Int
      ) {
        bias.update(repeating: 0)
      }
    }
    let local = schedule(
      .contiguous, tokens: 40, groups: groups(ranks: 4, size: 1), pattern: OwnSegment())
    #expect(
      (0..<4).allSatisfy { local.bytesSent(by: $0, blocks: blocks, results: blocks) == 0 })
  }

  @Test("a block crosses between groups once a group, not once a rank")
  func hierarchy() {
    let blocks = [Int](repeating: 1, count: 8)
    let none = [Int](repeating: 0, count: 8)
    let rings = schedule(
      .zigzag, tokens: 64, groups: groups(ranks: 8, size: 1), pattern: CausalPattern())
    let nodes = schedule(
      .zigzag, tokens: 64, groups: groups(ranks: 8, size: 2), pattern: CausalPattern())
    #expect((0..<8).allSatisfy { rings.bytesSent(by: $0, blocks: blocks, results: none) == 7 })
    #expect((0..<8).allSatisfy { nodes.bytesSent(by: $0, blocks: blocks, results: none) == 3 })
  }
}
