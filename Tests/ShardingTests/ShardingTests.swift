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
  @Test("every token belongs to exactly one rank", arguments: Layout.regular, rankCounts)
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

  @Test("groups of ranks hold what their ranks hold, in their order", arguments: Layout.regular)
  func groups(layout: Layout) {
    for ranks in [1, 4, 6] {
      for size in (1...ranks).filter({ ranks % $0 == 0 }) {
        let sharding = Sharding(layout, tokens: 37, ranks: ranks, granularity: 3)
        let grouped = sharding.grouped(by: size)
        #expect(grouped.ranks == ranks / size && grouped.tokens == 37)
        for group in 0..<grouped.ranks {
          let members = group * size..<(group + 1) * size
          #expect(grouped.shards[group] == members.flatMap { sharding.shards[$0] })
          #expect(
            grouped.tokenCount(of: group)
              == members.reduce(0) { $0 + sharding.tokenCount(of: $1) })
        }
        for position in 0..<37 {
          let owner = grouped.owner(of: position)
          #expect(
            grouped.shards[owner.rank].flatMap(Array.init)[owner.localIndex] == position)
          #expect(owner.rank == sharding.owner(of: position).rank / size)
        }
      }
    }
  }

  @Test("shards are even", arguments: Layout.regular, rankCounts)
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

  // MARK: Granularity

  @Test(
    "units are never divided", arguments: Layout.regular, [1, 2, 5, 16])
  func granularity(layout: Layout, granularity: Int) throws {
    for ranks in rankCounts {
      for tokens in sizes {
        var shardings = [
          Sharding(layout, tokens: tokens, ranks: ranks, granularity: granularity)
        ]
        if layout != .striped {
          let weights = (0..<ranks).map { Double($0 * 3 % 4 + 1) }
          shardings.append(
            try #require(
              Sharding(layout, tokens: tokens, weights: weights, granularity: granularity)))
        }
        for sharding in shardings {
          let held = sharding.shards.flatMap { $0.flatMap(Array.init) }
          #expect(held.sorted() == Array(0..<tokens))
          for (rank, runs) in sharding.shards.enumerated() {
            #expect(!runs.contains { $0.isEmpty })
            let positions = runs.flatMap(Array.init)
            #expect(positions == positions.sorted())
            for (localIndex, position) in positions.enumerated() {
              let owner = sharding.owner(of: position)
              #expect(owner == (rank, localIndex))
              // The whole unit is here, in one run.
              let first = position / granularity * granularity
              let unit = first..<min(first + granularity, tokens)
              let isWhole = runs.contains { run in unit.allSatisfy { run.contains($0) } }
              #expect(isWhole)
            }
            if granularity > 1 {
              #expect(runs.allSatisfy { $0.stride == 1 && $0.start % granularity == 0 })
            }
          }
        }
      }
    }
  }

  @Test func unitsAreDividedEvenly() {
    for layout in Layout.regular {
      for ranks in rankCounts {
        let sharding = Sharding(layout, tokens: 1000, ranks: ranks, granularity: 10)
        let counts = sharding.shards.indices.map { sharding.tokenCount(of: $0) }
        let spread = (counts.max() ?? 0) - (counts.min() ?? 0)
        #expect(spread <= (layout == .zigzag ? 20 : 10))
      }
    }
  }

  @Test func neighbouringUnitsAreOneRun() {
    #expect(
      Sharding(.contiguous, tokens: 23, ranks: 2, granularity: 5).shards == [
        [PositionRange(0..<15)], [PositionRange(15..<23)],
      ])
    #expect(
      Sharding(.zigzag, tokens: 23, ranks: 2, granularity: 5).shards == [
        [PositionRange(0..<5), PositionRange(20..<23)], [PositionRange(5..<20)],
      ])
    #expect(
      Sharding(.striped, tokens: 23, ranks: 2, granularity: 5).shards == [
        [PositionRange(0..<5), PositionRange(10..<15), PositionRange(20..<23)],
        [PositionRange(5..<10), PositionRange(15..<20)],
      ])
    #expect(
      Sharding(.striped, tokens: 23, ranks: 1, granularity: 5).shards == [[PositionRange(0..<23)]])
  }
}
