import Sharding
import Tensors
import Testing

private let sizes = [0, 1, 2, 3, 6, 7, 8, 37, 64, 101, 1000]
private let rankCounts = [1, 2, 3, 4, 5, 7, 8, 13]

/// The pairs `j ≤ i` of a rank's queries, counted one query at a time.
private func causalPairs(_ runs: [PositionRange]) -> Int {
  runs.reduce(0) { $0 + $1.reduce(0) { $0 + $1 + 1 } }
}

@Suite("Sharding")
struct ShardingTests {
  @Test("every token belongs to exactly one rank", arguments: Layout.allCases, rankCounts)
  func partition(layout: Layout, ranks: Int) {
    for tokens in sizes {
      let sharding = Sharding(layout, tokens: tokens, ranks: ranks)
      #expect(sharding.ranks == ranks)
      let held = sharding.shards.flatMap { $0.flatMap(Array.init) }
      #expect(held.sorted() == Array(0..<tokens))
      for (rank, runs) in sharding.shards.enumerated() {
        #expect(!runs.contains { $0.isEmpty })
        #expect(sharding.tokenCount(of: rank) == runs.flatMap(Array.init).count)
        for (localIndex, position) in runs.flatMap(Array.init).enumerated() {
          let owner = sharding.owner(of: position)
          #expect(owner == (rank, localIndex))
        }
      }
    }
  }

  @Test("shards are even", arguments: Layout.allCases, rankCounts)
  func even(layout: Layout, ranks: Int) {
    for tokens in sizes {
      let counts = Sharding(layout, tokens: tokens, ranks: ranks).shards.indices.map {
        Sharding(layout, tokens: tokens, ranks: ranks).tokenCount(of: $0)
      }
      let spread = (counts.max() ?? 0) - (counts.min() ?? 0)
      // Zigzag deals out pairs of tokens, and the odd middle token on top.
      #expect(spread <= (layout == .zigzag ? 2 : 1))
      #expect(
        Sharding(layout, tokens: tokens, ranks: ranks).largestTokenCount == counts.max())
    }
  }

  @Test("zigzag makes causal work exactly proportional to tokens", arguments: rankCounts)
  func zigzagBalance(ranks: Int) {
    for tokens in sizes {
      for runs in Sharding(.zigzag, tokens: tokens, ranks: ranks).shards {
        let held = runs.reduce(0) { $0 + $1.count }
        #expect(2 * causalPairs(runs) == held * (tokens + 1))
      }
    }
  }

  @Test func zigzagPutsTheMiddleTokenOnTheLastRank() {
    let sharding = Sharding(.zigzag, tokens: 9, ranks: 2)
    #expect(
      sharding.shards == [
        [PositionRange(0..<2), PositionRange(7..<9)], [PositionRange(2..<7)],
      ])
    #expect(Sharding(.zigzag, tokens: 1, ranks: 3).shards == [[], [], [PositionRange(0..<1)]])
  }

  @Test func stripedIsOneRunARank() {
    let sharding = Sharding(.striped, tokens: 8, ranks: 3)
    #expect(
      sharding.shards == [
        [PositionRange(start: 0, stride: 3, count: 3)],
        [PositionRange(start: 1, stride: 3, count: 3)],
        [PositionRange(start: 2, stride: 3, count: 2)],
      ])
  }

  @Test("weights set sizes", arguments: [Layout.contiguous, .zigzag])
  func weighted(layout: Layout) throws {
    let weights = [3, 1, 0, 2.5, 1e-9]
    for tokens in sizes {
      let sharding = try #require(Sharding(layout, tokens: tokens, weights: weights))
      let held = sharding.shards.flatMap { $0.flatMap(Array.init) }
      #expect(held.sorted() == Array(0..<tokens))
      #expect(sharding.tokenCount(of: 2) == 0)
      for (rank, weight) in weights.enumerated() {
        let share = Double(tokens) * weight / 6.5
        #expect(abs(Double(sharding.tokenCount(of: rank)) - share) <= 3)
        if layout == .zigzag {
          #expect(
            2 * causalPairs(sharding.shards[rank])
              == sharding.tokenCount(of: rank) * (tokens + 1))
        }
      }
    }
    #expect(Sharding(.striped, tokens: 10, weights: [1, 2]) == nil)
    let huge = try #require(
      Sharding(layout, tokens: 10, weights: [.greatestFiniteMagnitude, .greatestFiniteMagnitude]))
    #expect(huge.shards.indices.allSatisfy { (4...6).contains(huge.tokenCount(of: $0)) })
  }
}
