import Attention
import SequenceParallel
import Sharding
import Tensors
import Testing

@Suite("The schedule of the ring")
struct RingScheduleTests {
  private func schedules(
    _ layout: Layout, tokens: Int, ranks: Int, pattern: any AttentionPattern
  ) -> [RingSchedule] {
    let shards = Sharding(layout, tokens: tokens, ranks: ranks).shards
    return (0..<ranks).map {
      RingSchedule(rank: $0, queries: shards, keys: shards, pattern: pattern)
    }
  }

  /// Follows the blocks round the ring and notes which rank computes on which.
  @Test(
    "every rank meets every block it needs, once, and each message has two ends",
    arguments: Layout.allCases, [1, 2, 3, 4, 5, 7, 8])
  func follow(layout: Layout, ranks: Int) {
    for tokens in [0, 1, ranks - 1, ranks, 3 * ranks + 1, 64] {
      for pattern in [FullPattern(), CausalPattern()] as [any AttentionPattern] {
        let all = schedules(layout, tokens: tokens, ranks: ranks, pattern: pattern)
        let shards = Sharding(layout, tokens: tokens, ranks: ranks).shards
        var held: [Int?] = Array(0..<ranks)
        var met = Array(repeating: Set<Int>(), count: ranks)
        for step in 0..<ranks {
          for rank in 0..<ranks where all[rank].steps[step].computes {
            #expect(held[rank] == all[rank].steps[step].owner)
            #expect(met[rank].insert(all[rank].steps[step].owner).inserted)
          }
          let before = held
          for rank in 0..<ranks {
            let previous = (rank - 1 + ranks) % ranks
            let receives = all[rank].steps[step].receives
            #expect(receives == all[previous].steps[step].sends)
            if receives { #expect(before[previous] != nil) }
            held[rank] = receives ? before[previous] : nil
          }
        }
        for rank in 0..<ranks {
          let needed = shards.indices.filter {
            pattern.reaches(keys: shards[$0], queries: shards[rank])
          }
          #expect(met[rank] == Set(needed))
        }
      }
    }
  }

  @Test func nothingIsSentThatNobodyNeeds() {
    let causal = schedules(.contiguous, tokens: 40, ranks: 4, pattern: CausalPattern())
    let sends = causal.map { $0.steps.filter(\.sends).map(\.owner) }
    #expect(sends == [[0], [1, 0], [2, 1, 0], []])
    #expect(causal[2].bytesSent(blockBytes: [1, 10, 100, 1000]) == 111)

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
    let local = schedules(.contiguous, tokens: 40, ranks: 4, pattern: OwnSegment())
    #expect(local.allSatisfy { $0.steps.allSatisfy { !$0.sends && !$0.receives } })
  }
}
