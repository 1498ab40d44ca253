import Attention
import SequenceParallel
import Sharding
import Tensors
import Testing

/// Layouts for any pattern: how even they are, which is chosen, and what choosing takes.
@Suite("Layouts")
struct LayoutTests {
  /// Causal attention within documents that lie one after the other.
  private struct Documents: AttentionPattern {
    /// Where they begin, and the end of the last.
    let bounds: [Int]

    init(lengths: [Int]) {
      bounds = lengths.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1) }
    }

    /// Of random lengths, equally likely on a scale of logarithms.
    init(tokens: Int, from shortest: Double, to longest: Double, seed: UInt64) {
      var state = seed
      var lengths: [Int] = []
      var rest = tokens
      while rest > 0 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        let share = Double(state >> 11) * 0x1p-53
        var length = shortest
        // (longest / shortest) to the power of the share, by repeated roots.
        var (factor, part) = (longest / shortest, share)
        for _ in 0..<24 {
          factor = factor.squareRoot()
          part *= 2
          if part >= 1 {
            length *= factor
            part -= 1
          }
        }
        lengths.append(min(rest, Int(length)))
        rest -= lengths[lengths.count - 1]
      }
      self.init(lengths: lengths)
    }

    private func document(of position: Int) -> Int {
      var (low, high) = (0, bounds.count - 1)
      while high - low > 1 {
        let middle = (low + high) / 2
        if bounds[middle] <= position { low = middle } else { high = middle }
      }
      return low
    }

    func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
      guard let firstKey = keys.first, let lastKey = keys.last, let first = queries.first,
        let last = queries.last
      else { return .none }
      let (low, high) = (document(of: first), document(of: last))
      if firstKey > last || lastKey < bounds[low] { return .none }
      return low == high && firstKey >= bounds[low] && lastKey <= first ? .all : .some
    }

    func fill(
      _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
      head: Int
    ) {
      for (row, query) in queries.enumerated() {
        let start = bounds[document(of: query)]
        for (column, key) in keys.enumerated() {
          bias[row * keys.count + column] = key >= start && key <= query ? 0 : -.infinity
        }
      }
    }
  }

  /// Sequences of a batch whose documents differ.
  private struct Batches: AttentionPattern {
    let documents: [Documents]

    var dependsOnBatch: Bool { true }

    func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
      let all = documents.map { $0.coverage(keys: keys, queries: queries) }
      return all.allSatisfy { $0 == all[0] } ? all[0] : .some
    }

    func coverage(
      keys: PositionRange, queries: PositionRange, batch: Int, head: Int
    ) -> Coverage {
      documents[batch].coverage(keys: keys, queries: queries)
    }

    func fill(
      _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
      head: Int
    ) {
      documents[batch].fill(&bias, keys: keys, queries: queries, batch: batch, head: head)
    }
  }

  /// Counts what a mask is asked, and hides which it is.
  private struct Counted: AttentionPattern {
    final class Counter: @unchecked Sendable {
      var count = 0
    }

    let counter = Counter()
    let mask: any AttentionPattern

    func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
      counter.count += 1
      return mask.coverage(keys: keys, queries: queries)
    }

    func fill(
      _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
      head: Int
    ) {
      mask.fill(&bias, keys: keys, queries: queries, batch: batch, head: head)
    }
  }

  private func shape(batch: Int = 1) -> AttentionShape {
    AttentionShape(batch: batch, queryHeads: 4, kvHeads: 2, headDim: 64, valueHeadDim: 64)
  }

  private func planner(
    _ pattern: any AttentionPattern, tokens: Int, keyTokens: Int? = nil, ranks: Int,
    batch: Int = 1, granularity: Int = 1, weights: [Double]? = nil
  ) -> LayoutPlanner {
    LayoutPlanner(
      pattern, shape: shape(batch: batch), tokens: tokens, keyTokens: keyTokens ?? tokens,
      ranks: ranks, granularity: granularity, weights: weights)
  }

  /// Counted pair by pair: the largest over the mean of ranks.
  private func imbalance(
    _ sharding: Sharding, _ pattern: any AttentionPattern, keyTokens: Int, batch: Int = 1
  ) -> Double {
    let all = [PositionRange(0..<keyTokens)]
    let pairs = sharding.shards.map { runs in
      Double(pattern.visiblePairs(keys: all, queries: runs, shape: shape(batch: batch)))
    }
    return (pairs.max() ?? 0) / (pairs.reduce(0, +) / Double(pairs.count))
  }

  @Test("packed documents of random lengths: at most 5 % too much", arguments: [3, 8, 16])
  func documents(ranks: Int) throws {
    let tokens = 4096 * ranks + 311
    for seed in 1...4 as ClosedRange<UInt64> {
      let pattern = Documents(tokens: tokens, from: 40, to: 9000, seed: seed)
      let planner = planner(pattern, tokens: tokens, ranks: ranks)
      let contiguous = try #require(planner.decide(.contiguous)).queries
      let balanced = try #require(planner.decide(.balanced)).queries
      let (before, after) = (
        imbalance(contiguous, pattern, keyTokens: tokens),
        imbalance(balanced, pattern, keyTokens: tokens)
      )
      let runs = balanced.shards.map(\.count).max() ?? 0
      print(
        "documents on \(ranks) ranks, \(seed): contiguous \(before), balanced \(after) in up to "
          + "\(runs) runs of \(balanced.largestTokenCount) tokens")
      #expect(before >= 1.3 && after <= 1.05, "\(ranks) ranks, \(seed): \(before) and \(after)")
      let best = planner.best()
      #expect(best.layout == .balanced, "\(best.reason)")
    }
  }

  @Test("sequences of a batch count together")
  func batches() throws {
    let (tokens, ranks) = (24_000, 4)
    let pattern = Batches(
      documents: [1, 2, 3].map {
        Documents(tokens: tokens, from: 100, to: 16_000, seed: $0)
      })
    let planner = planner(pattern, tokens: tokens, ranks: ranks, batch: 3)
    let balanced = try #require(planner.decide(.balanced)).queries
    let contiguous = try #require(planner.decide(.contiguous)).queries
    let most = imbalance(balanced, pattern, keyTokens: tokens, batch: 3)
    #expect(most <= 1.05, "\(most)")
    #expect(imbalance(contiguous, pattern, keyTokens: tokens, batch: 3) > 1.2)
  }

  @Test("keys lie with the queries that stand at their positions")
  func moreKeys() throws {
    for (tokens, keyTokens, granularity) in [(500, 900, 1), (900, 500, 1), (2304, 3840, 768)] {
      let pattern = PatternChoice([CausalMask(), WindowMask(width: 50)]).pattern(
        tokens: tokens, keyTokens: keyTokens)
      let decision = try #require(
        planner(
          pattern, tokens: tokens, keyTokens: keyTokens, ranks: 3, granularity: granularity
        ).decide(.balanced))
      #expect(decision.keys.tokens == keyTokens && decision.keys.ranks == 3)
      let held = decision.keys.shards.flatMap { $0.flatMap(Array.init) }
      #expect(held.sorted() == Array(0..<keyTokens))
      guard tokens == 500 else { continue }
      for rank in 0..<3 {
        let own = Set(decision.keys.shards[rank].flatMap(Array.init))
        #expect(decision.queries.shards[rank].joined().allSatisfy { own.contains($0 + 400) })
      }
    }
  }

  @Test("the best of all keys, causal, windows, and what has a few expensive rows")
  func best() throws {
    let (tokens, ranks) = (64_000, 8)
    func best(_ masks: [any Mask], hiding: Bool = false, weights: [Double]? = nil) -> LayoutDecision
    {
      let pattern = PatternChoice(masks).pattern(tokens: tokens, keyTokens: tokens)
      return planner(
        hiding ? Counted(mask: pattern) : pattern, tokens: tokens, ranks: ranks, weights: weights
      ).best()
    }
    for hiding in [false, true] {
      #expect(best([], hiding: hiding).layout == .contiguous)
      #expect(best([CausalMask()], hiding: hiding).layout == .zigzag)
    }
    let window = best([CausalMask(), WindowMask(width: 1024), SinkMask(count: 4)])
    #expect(window.layout == .contiguous && window.reason.contains("neighbours together"))
    let globals = best([WindowMask(width: 64), GlobalMask(tokens: [0..<200])])
    #expect(globals.layout == .balanced, "\(globals.reason)")
    #expect(globals.reason.contains("contiguous 3.") || globals.reason.contains("contiguous 2."))
    let weights = best(
      [CausalMask(), WindowMask(width: 1024)], weights: [2, 1, 1, 1, 1, 1, 1, 1])
    #expect(weights.layout == .contiguous)
    let counts = weights.queries.shards.indices.map(weights.queries.tokenCount)
    #expect(counts[0] > 2 * counts[1] - 8)
    #expect(planner(FullPattern(), tokens: 9, ranks: 2, weights: [1, 2]).decide(.striped) == nil)
  }

  @Test("choosing takes few questions, whatever the number of ranks and tokens")
  func cost() {
    for (ranks, most) in [(8, 0.1), (1024, 0.1), (10_000, 2.0)] {
      for tokens in [1000 * ranks, 10_000_000] {
        let masks: [any AttentionPattern] = [
          PatternChoice([CausalMask(), WindowMask(width: 4096), SinkMask(count: 4)])
            .pattern(tokens: tokens, keyTokens: tokens),
          Documents(tokens: tokens, from: 100, to: 100_000, seed: 5),
        ]
        for mask in masks {
          let counted = Counted(mask: mask)
          let planner = planner(counted, tokens: tokens, ranks: ranks)
          let clock = ContinuousClock()
          var decision: LayoutDecision?
          let time = clock.measure { decision = planner.best() }
          print(
            "\(ranks) ranks, \(tokens) tokens: \(decision.map { "\($0.layout)" } ?? ""), "
              + "\(counted.counter.count) questions, \(time); \(most) s are allowed on an idle core"
          )
          #expect(counted.counter.count <= 100 * max(8192, 8 * ranks), "\(counted.counter.count)")
        }
      }
    }
  }

  @Test("coverage of ranks is that of their pairs, and many ranks are put together")
  func coverage() {
    let tokens = 240
    for layout in Layout.regular {
      let sharding = Sharding(layout, tokens: tokens, ranks: 5)
      let mask = PatternChoice([CausalMask(), WindowMask(width: 60)]).pattern(
        tokens: tokens, keyTokens: tokens)
      let map = CoverageMap(mask, queries: sharding, keys: sharding)
      for rank in 0..<5 {
        for owner in 0..<5 {
          let pairs = mask.visiblePairs(
            keys: sharding.shards[owner], queries: sharding.shards[rank])
          let expected: Coverage = pairs == 0 ? .none : pairs == 48 * 48 ? .all : .some
          #expect(map.cells[rank][owner] == expected, "\(layout): \(rank) of \(owner)")
        }
      }
    }
    let many = Sharding(.contiguous, tokens: 1000, ranks: 100)
    let map = CoverageMap(CausalPattern(), queries: many, keys: many)
    #expect(map.bands.count == 64 && map.bands.map(\.count).reduce(0, +) == 100)
    #expect(map.cells[63][0] == .all && map.cells[0][63] == .none && map.cells[7][7] == .some)
  }

  @Test("keys of a query are those that it sees", arguments: [1, 3])
  func seenKeys(dilation: Int) {
    let choice = PatternChoice([
      CausalMask(), WindowMask(width: 40, dilation: dilation), SinkMask(count: 5),
      GlobalMask(tokens: [200..<203]),
    ])
    let pattern = choice.pattern(tokens: 700, keyTokens: 900)
    let sees = choice.bias(MaskInputs(tokens: 700, keyTokens: 900))
    for query in stride(from: 0, to: 700, by: 23) {
      let parts = pattern.seenKeys(of: query, among: PositionRange(0..<900))
      #expect(parts.allSatisfy { $0.share == 1 })
      let found = parts.flatMap { Array($0.keys) }.sorted()
      #expect(found == (0..<900).filter { sees(0, query, $0, 0) == 0 }, "query \(query)")
    }
    // With few questions about as many.
    let few = CausalPattern().seenKeys(
      of: 9000, among: PositionRange(0..<10_000), questions: 8)
    #expect(abs(few.reduce(0) { $0 + $1.count } - 9001) < 600)
  }
}
