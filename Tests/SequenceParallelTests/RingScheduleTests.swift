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
    return RingSchedule(
      groups: groups,
      meetings: Meetings(ranks: ranks) { pattern.reaches(keys: shards[$1], queries: shards[$0]) })
  }

  /// Ranks in groups of at most `size`.
  private func groups(ranks: Int, size: Int) -> [[Int]] {
    stride(from: 0, to: ranks, by: size).map { Array($0..<min($0 + size, ranks)) }
  }

  /// Follows the blocks from carrier to carrier and notes which rank computes on which.
  @Test(
    "every rank meets every block it needs, once, and each message has two ends",
    arguments: Layout.regular, [1, 2, 3, 4, 5, 7, 8])
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
    // With a causal mask over contiguous shards a block goes to the ranks after its owner; with a
    // mask of segments that are shards, nowhere.
    let causal = schedule(
      .contiguous, tokens: 40, groups: groups(ranks: 4, size: 1), pattern: CausalPattern())
    #expect(causal.hops == [3, 2, 1, 0])

    struct OwnSegment: AttentionPattern {
      func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
        keys.start / 10 == queries.start / 10 ? .all : .none
      }
      func fill(
        _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
        head: Int
      ) {
        bias.update(repeating: 0)
      }
    }
    let local = schedule(
      .contiguous, tokens: 40, groups: groups(ranks: 4, size: 1), pattern: OwnSegment())
    #expect(local.hops == [0, 0, 0, 0])
  }

  @Test("hops are the same whatever order the ranks of groups are in", arguments: Layout.regular)
  func orders(layout: Layout) {
    // Neighbours, backwards, and hosts that were filled in turn.
    for ranks in [6, 12] {
      let hosts = (0..<3).map { host in (0..<ranks).filter { $0 % 3 == host } }
      for groups in [
        groups(ranks: ranks, size: 1), groups(ranks: ranks, size: 1).reversed(),
        groups(ranks: ranks, size: 2).reversed(), hosts, hosts.reversed(),
      ] {
        let schedule = schedule(layout, tokens: 90, groups: groups, pattern: CausalPattern())
        for owner in 0..<ranks {
          let reached = groups.indices.filter { turn in
            groups[(schedule.places[owner].group + turn) % groups.count].contains {
              schedule.sees($0, owner)
            }
          }
          #expect(schedule.hops[owner] == reached.last ?? 0, "\(groups)")
        }
      }
    }
  }
}
