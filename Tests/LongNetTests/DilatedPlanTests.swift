import Attention
import LongNet
import Sharding
import Tensors
import Testing

@Suite("Who computes what of dilated attention")
struct DilatedPlanTests {
  private func plan(
    _ branches: [(Int, Int)], _ shape: AttentionShape, _ sharding: Sharding,
    _ placement: Placement, isCausal: Bool, _ offset: HeadOffset = .modulo
  ) throws -> DilatedPlan {
    DilatedPlan(
      try ShardedDilatedAttention(
        shape: shape, sharding: sharding,
        branches: branches.map { DilatedBranch(segmentLength: $0.0, dilationRate: $0.1) },
        headOffset: offset, isCausal: isCausal), placement: placement)
  }

  private func shape(_ queryHeads: Int, _ kvHeads: Int, headDim: Int = 16) -> AttentionShape {
    AttentionShape(
      batch: 1, queryHeads: queryHeads, kvHeads: kvHeads, headDim: headDim, valueHeadDim: headDim)
  }

  /// Every (branch, head, query) that a plan computes, with the keys it sees there.
  private func work(_ plan: DilatedPlan) -> [[Int]: Set<Int>] {
    var seen: [[Int]: Set<Int>] = [:]
    for task in plan.tasks.joined() {
      let family = plan.families[task.family]
      for segment in task.segments {
        let rows = family.rows(of: segment)
        for query in task.queries.joined() {
          let count = plan.pattern.isCausal ? query + 1 : rows.count
          for head in family.queryHeads {
            let name = [family.branchIndex, head, rows[query]]
            #expect(seen[name] == nil, "\(name) is computed twice")
            #expect(count <= task.keyCount)
            seen[name] = Set(rows[0..<count])
          }
        }
      }
    }
    return seen
  }

  @Test(
    "every placement computes every pair once",
    arguments: [Placement.rate, .sequence, .units], [1, 2, 3, 5, 8])
  func everyPairOnce(placement: Placement, ranks: Int) throws {
    for tokens in [1, 23, 100] {
      for isCausal in [true, false] {
        for layout in Layout.regular {
          let branches = [(10, 1), (24, 5), (23, 3), (1000, 7)]
          let plan = try plan(
            branches, shape(6, 3), Sharding(layout, tokens: tokens, ranks: ranks), placement,
            isCausal: isCausal, .grouped)
          var expected: [[Int]: Set<Int>] = [:]
          for (index, (length, rate)) in branches.enumerated() {
            for head in 0..<6 {
              let offset = head / ((6 + rate - 1) / rate)
              for query in 0..<tokens where query % length % rate == offset {
                expected[[index, head, query]] = Set(
                  (0..<tokens).filter {
                    $0 / length == query / length && $0 % length % rate == offset
                      && (!isCausal || $0 <= query)
                  })
              }
            }
          }
          let same = work(plan) == expected
          #expect(same, "\(tokens) tokens, causal \(isCausal), \(layout)")
          let pairs = expected.values.reduce(0) { $0 + $1.count }
          #expect((0..<ranks).reduce(0) { $0 + plan.pairs(rank: $1) } == pairs)
        }
      }
    }
  }

  @Test("rates share ranks as the published defaults do")
  func ranksOfRates() {
    // Segments and rates of the paper over 32,768 tokens, full attention.
    let costs = [(2048, 1), (4096, 2), (8192, 4), (16384, 6), (32768, 12)].map { length, rate in
      32768 / length * ((length + rate - 1) / rate) * ((length + rate - 1) / rate)
    }
    #expect(RateAssignment.ranks(costs, of: 8) == [3, 2, 1, 1, 1])
    #expect(RateAssignment.ranks(costs, of: 16) == [7, 4, 2, 2, 1])
  }

  @Test("no assignment of ranks to rates is better", arguments: 1...9)
  func ranksAreOptimal(extra: Int) {
    let costs = [[5, 3, 1], [100, 1, 1], [7, 7, 7], [64, 32, 16]]
    for costs in costs {
      let chosen = RateAssignment.ranks(costs, of: costs.count + extra)
      func greatest(_ counts: [Int]) -> Double {
        zip(costs, counts).map { Double($0) / Double($1) }.max() ?? 0
      }
      var best = Double.infinity
      for first in 1...extra + 1 {
        for second in 1...extra + 1 where first + second < costs.count + extra {
          best = min(best, greatest([first, second, costs.count + extra - first - second]))
        }
      }
      #expect(chosen.reduce(0, +) == costs.count + extra)
      #expect(greatest(chosen) == best)
    }
  }

  @Test("fewer ranks than rates: all rates are packed")
  func packing() {
    let packed = RateAssignment.packed([10, 7, 5, 4, 3], onto: 2)
    #expect(packed == [[0, 3], [1, 2, 4]])
  }

  @Test("units are balanced to a query", arguments: [2, 3, 7, 16])
  func balance(ranks: Int) throws {
    for isCausal in [true, false] {
      let plan = try plan(
        [(512, 1), (2048, 4), (10007, 16)], shape(4, 4),
        Sharding(.contiguous, tokens: 10007, ranks: ranks), .units, isCausal: isCausal)
      let pairs = (0..<ranks).map { plan.pairs(rank: $0) }
      let most = pairs.max() ?? 0
      let least = pairs.min() ?? 0
      // A query of the longest segment sees at most 626 keys, for up to 4 heads.
      #expect(most - least <= 2 * 4 * 626, "\(pairs)")
    }
  }

  @Test("a zigzag layout balances nested segments where queries stay")
  func zigzagBalance() throws {
    let plan = try plan(
      [(1024, 1), (4096, 4), (16384, 16)], shape(1, 1),
      Sharding(.zigzag, tokens: 16384, ranks: 8), .sequence, isCausal: true)
    let pairs = (0..<8).map { Double(plan.pairs(rank: $0)) }
    #expect((pairs.max() ?? 0) / (pairs.reduce(0, +) / 8) < 1.01)
  }

  /// The rows that a rank takes in are (w − n) / r for each KV head and offset that its heads need.
  @Test("bytes of sharded segments equal the published formula")
  func bytes() throws {
    let (tokens, ranks, headDim) = (4096, 8, 16)
    let n = tokens / ranks
    for (queryHeads, kvHeads) in [(4, 4), (8, 2)] {
      for headOffset in [HeadOffset.modulo, .grouped] {
        let branches = [(256, 1), (1024, 2), (4096, 8)]
        let plan = try plan(
          branches, shape(queryHeads, kvHeads, headDim: headDim),
          Sharding(.contiguous, tokens: tokens, ranks: ranks), .sequence, isCausal: false,
          headOffset)
        var rows = 0
        for (length, rate) in branches where length > n {
          let group = queryHeads / kvHeads
          let offsets = (0..<kvHeads).reduce(0) { sum, kvHead in
            sum
              + Set(
                (kvHead * group..<(kvHead + 1) * group).map {
                  headOffset == .modulo ? $0 % rate : $0 / ((queryHeads + rate - 1) / rate)
                }
              ).count
          }
          rows += (length - n) / rate * offsets
        }
        for rank in 0..<ranks {
          // All ranks are alike, so what comes in is what goes out.
          #expect(
            plan.bytesSent(
              by: rank, outward: plan.forwardOutward,
              homeward: plan.forwardHomeward(withRemainder: false)) == rows * 2 * headDim * 4)
          #expect(
            plan.bytesSent(
              by: rank, outward: plan.backwardOutward, homeward: plan.backwardHomeward)
              == 2 * rows * 2 * headDim * 4)
        }
      }
    }
  }
}
