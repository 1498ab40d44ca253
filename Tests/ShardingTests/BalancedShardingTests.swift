import Sharding
import Tensors
import Testing

/// That costs are shared out evenly, whatever they are, in few runs and within memory.
@Suite("Balanced sharding")
struct BalancedShardingTests {
  /// What each token costs, with sums that can be asked for.
  private struct Costs {
    let before: [Double]

    init(_ tokens: Int, _ cost: (Int) -> Double) {
      before = (0..<tokens).reduce(into: [0.0]) { $0.append($0[$1] + cost($1)) }
    }

    func cost(_ range: Range<Int>) -> Double {
      before[range.upperBound] - before[range.lowerBound]
    }

    func cost(_ runs: [PositionRange]) -> Double {
      runs.reduce(0) { $0 + cost($1.start..<$1.start + $1.count) }
    }
  }

  private static let shapes: [(name: String, cost: @Sendable (_ share: Double) -> Double)] = [
    ("the same", { _ in 1 }), ("a slope", { $0 }), ("a peak", { $0 > 0.6 && $0 < 0.65 ? 100 : 1 }),
    ("two levels", { $0 < 0.5 ? 1 : 5 }), ("nothing", { _ in 0 }),
    ("waves", { 1 + Double(Int($0 * 37) * 7919 % 13) }),
  ]

  @Test("every token has one owner, and no rank more than its memory", arguments: [1, 2, 3, 5, 8])
  func partition(ranks: Int) {
    for (name, shape) in Self.shapes {
      for (tokens, granularity) in [(0, 1), (1, 1), (7, 1), (37, 1), (5000, 1), (7001, 768)] {
        for weights in [nil, (0..<ranks).map { Double($0 % 3) + 0.5 }] {
          let costs = Costs(tokens) { shape(Double($0) / Double(tokens)) }
          let sharding = Sharding(
            balancing: costs.cost, tokens: tokens, ranks: ranks, granularity: granularity,
            weights: weights)
          let what = "\(name), \(tokens) tokens, \(ranks) ranks"
          #expect(sharding.layout == .balanced && sharding.ranks == ranks)
          let held = sharding.shards.flatMap { $0.flatMap(Array.init) }
          #expect(held.sorted() == Array(0..<tokens), "\(what)")
          #expect(
            sharding.shards.joined().allSatisfy {
              $0.start % granularity == 0 && !$0.isEmpty && $0.isContiguous
            }, "\(what)")
          let again = Sharding(
            balancing: costs.cost, tokens: tokens, ranks: ranks, granularity: granularity,
            weights: weights)
          #expect(again == sharding)
          guard weights == nil, tokens >= 5000, granularity == 1 else { continue }
          let mean = Double(tokens) / Double(ranks)
          #expect(
            Double(sharding.largestTokenCount) <= Sharding.mostOverMean * mean + 129, "\(what)")
        }
      }
    }
  }

  @Test("no rank has more than a few percent too much", arguments: [2, 3, 5, 8, 64])
  func balance(ranks: Int) {
    for (name, shape) in Self.shapes where name != "nothing" {
      let tokens = 4096 * ranks + 77
      let costs = Costs(tokens) { shape(Double($0) / Double(tokens)) }
      for weights in [nil, (0..<ranks).map { $0 == 0 ? 2.0 : 1.0 }] {
        let sharding = Sharding(
          balancing: costs.cost, tokens: tokens, ranks: ranks, weights: weights)
        let sum = weights?.reduce(0, +) ?? Double(ranks)
        let total = costs.cost(0..<tokens)
        for rank in 0..<ranks {
          let share = costs.cost(sharding.shards[rank]) / total * sum / (weights?[rank] ?? 1)
          #expect(share <= 1.03, "\(name), \(ranks) ranks: rank \(rank) has \(share)")
        }
      }
    }
  }

  @Test("neighbours stay together where that can be, and else runs are few")
  func runs() {
    let even = Sharding(balancing: { Double($0.count) }, tokens: 8000, ranks: 8)
    #expect(even.shards.allSatisfy { $0.count == 1 && abs($0[0].count - 1000) <= 16 })
    // Early tokens of a slope would fill a rank.
    let slope = Costs(16384, Double.init)
    let pairs = Sharding(balancing: slope.cost, tokens: 16384, ranks: 8)
    #expect(pairs.shards.allSatisfy { $0.count <= 2 })
    let tokens = pairs.shards.indices.map(pairs.tokenCount)
    #expect(tokens.allSatisfy { $0 == 2048 }, "\(tokens)")
  }

  @Test("ranks without weight get nothing")
  func noWeight() {
    let sharding = Sharding(
      balancing: { Double($0.count) }, tokens: 1000, ranks: 3, weights: [1, 0, 3])
    #expect(sharding.tokenCount(of: 1) == 0 && sharding.tokenCount(of: 0) < 300)
    #expect(sharding.tokenCount(of: 2) > 700)
  }
}
