public import Attention
public import Sharding
import Tensors

/// Which rank holds which queries and keys under a pattern, and why.
public struct LayoutDecision: Sendable {
  /// How tokens are divided.
  public let layout: Layout
  /// Why, in a few words.
  public let reason: String
  /// Which rank holds which queries.
  public let queries: Sharding
  /// Which rank holds which keys and values.
  public let keys: Sharding
}

/// Divides the tokens of a problem among ranks: in a layout that is named, or in the best.
///
/// It is a value of the numbers that it is given: every rank finds the same, without communication.
public struct LayoutPlanner: Sendable {
  private let pattern: any AttentionPattern
  private let shape: AttentionShape
  private let tokens: Int
  private let keyTokens: Int
  private let ranks: Int
  private let granularity: Int
  private let weights: [Double]?

  /// Describes what is to be divided.
  ///
  /// - Parameters:
  ///   - pattern: what a query sees.
  ///   - shape: how many sequences and heads there are.
  ///   - tokens: queries of a sequence; where they are fewer than the keys, its last.
  ///   - keyTokens: its keys.
  ///   - granularity: tokens of a unit, which is never divided.
  ///   - weights: work in proportion to the speed of each rank, finite, not negative and not all
  ///     zero; nil if all are as fast.
  public init(
    _ pattern: any AttentionPattern, shape: AttentionShape, tokens: Int, keyTokens: Int,
    ranks: Int, granularity: Int = 1, weights: [Double]? = nil
  ) {
    self.pattern = pattern
    self.shape = shape
    self.tokens = tokens
    self.keyTokens = keyTokens
    self.ranks = ranks
    self.granularity = granularity
    self.weights = weights
  }

  /// Divides the tokens.
  ///
  /// - Parameter asked: the layout that is named; nil for ``best()``.
  /// - Returns: nil for a layout that cannot go by weights.
  /// - Complexity: the balanced layout takes some fifty questions to the pattern for each of 8,192
  ///   queries, or eight queries a rank if that is more; the others none.
  public func decide(_ asked: Layout?) -> LayoutDecision? {
    guard let asked else { return best() }
    let costs = asked == .balanced ? costs : nil
    return division(asked, costs).map { decision($0, reason: "asked for") }
  }

  /// The layout that wastes least: of those whose busiest rank has at most 5 % more work than in
  /// the best of them, contiguous if it is one, since it keeps neighbours together; or else the one
  /// whose ranks need fewest keys of others.
  ///
  /// For all keys that is contiguous, and zigzag for a causal mask, without a question.
  public func best() -> LayoutDecision {
    if let known, let division = division(known.layout, nil) {
      return decision(division, reason: known.reason)
    }
    let costs = costs
    let candidates = [Layout.contiguous, .zigzag, .balanced, .striped].compactMap {
      layout -> (Division, Double)? in
      division(layout, costs).map { ($0, imbalance(of: $0.queries, costs)) }
    }
    let least = candidates.reduce(.infinity) { min($0, $1.1) }
    let good = candidates.filter { $0.1 <= 1.05 * least }
    let isContiguous = good[0].0.layout == .contiguous
    let needs = isContiguous ? [0] : good.map { keysOfOthers($0.0, costs) }
    let fewest = needs.reduce(.infinity, min)
    // The first that is about as good as any.
    let index = needs.firstIndex { $0 <= 1.05 * fewest } ?? 0
    return decision(good[index].0, reason: reason(good[index].0.layout, candidates, among: good))
  }

  private func reason(
    _ layout: Layout, _ candidates: [(Division, Double)], among good: [(Division, Double)]
  ) -> String {
    func words(_ candidate: (Division, Double)) -> String {
      "\(candidate.0.layout) \(twoDecimals(candidate.1))"
    }
    let chosen = candidates.filter { $0.0.layout == layout }
    let others = candidates.filter { $0.0.layout != layout }
    let why =
      good.count == 1
      ? "" : layout == .contiguous ? "neighbours together; " : "fewest keys of other ranks; "
    return why + "the busiest rank's work over the mean: "
      + (chosen + others).map(words).joined(separator: ", ")
  }

  // MARK: Dividing

  /// Shards of queries and keys in one layout.
  private struct Division {
    let layout: Layout
    let queries: Sharding
    let keys: Sharding
  }

  private func decision(_ division: Division, reason: String) -> LayoutDecision {
    LayoutDecision(
      layout: division.layout, reason: reason, queries: division.queries, keys: division.keys)
  }

  private var costs: TokenCosts {
    TokenCosts(pattern, shape: shape, tokens: tokens, keyTokens: keyTokens, ranks: ranks)
  }

  private func division(_ layout: Layout, _ costs: TokenCosts?) -> Division? {
    if layout == .balanced {
      guard let costs else { preconditionFailure("a balanced layout goes by costs") }
      let queries = Sharding(
        balancing: costs.cost, tokens: tokens, ranks: ranks, granularity: granularity,
        weights: weights)
      return Division(layout: layout, queries: queries, keys: keysBeside(queries))
    }
    guard let queries = regular(layout, tokens), let keys = regular(layout, keyTokens) else {
      return nil
    }
    return Division(layout: layout, queries: queries, keys: keys)
  }

  private func regular(_ layout: Layout, _ tokens: Int) -> Sharding? {
    if let weights {
      return Sharding(layout, tokens: tokens, weights: weights, granularity: granularity)
    }
    return Sharding(layout, tokens: tokens, ranks: ranks, granularity: granularity)
  }

  /// Keys where the queries are that stand at their positions; others are divided evenly.
  ///
  /// Where cuts may be made at units only and queries stand between those of keys, that cannot be,
  /// and all keys are divided evenly.
  private func keysBeside(_ queries: Sharding) -> Sharding {
    let offset = keyTokens - tokens
    if offset == 0 { return queries }
    guard offset > 0, offset % granularity == 0 else {
      let even = Sharding(.contiguous, tokens: keyTokens, ranks: ranks, granularity: granularity)
      return Sharding(layout: .balanced, tokens: keyTokens, shards: even.shards)
    }
    let earlier = Sharding(.contiguous, tokens: offset, ranks: ranks, granularity: granularity)
    return Sharding(
      layout: .balanced, tokens: keyTokens,
      shards: zip(earlier.shards, queries.shards).map { earlier, queries in
        earlier + queries.map { PositionRange(start: $0.start + offset, count: $0.count) }
      })
  }

  // MARK: Judging

  /// What needs no question: all queries see as many keys, or under a causal mask early and late
  /// ones together.
  private var known: (layout: Layout, reason: String)? {
    if pattern is FullPattern { return (.contiguous, "every query sees as many keys") }
    if pattern is CausalPattern {
      return (.zigzag, "an early and a late token together see as many keys as any other two")
    }
    return ranks == 1 ? (.contiguous, "a single rank") : nil
  }

  /// The work of the rank that has most for its weight, over the mean.
  ///
  /// Striped ranks all see a bit of everything, and have work as they have tokens.
  private func imbalance(of sharding: Sharding, _ costs: TokenCosts) -> Double {
    let total = costs.cost(0..<tokens)
    guard total > 0, tokens > 0 else { return 1 }
    let sum = weights?.reduce(0, +) ?? Double(ranks)
    return sharding.shards.indices.reduce(0) { most, rank in
      let share = (weights?[rank] ?? 1) / sum
      if share == 0 { return most }
      let work = sharding.shards[rank].reduce(0.0) { work, run in
        work
          + (run.isContiguous
            ? costs.cost(run.start..<run.start + run.count)
            : total * Double(run.count) / Double(tokens))
      }
      return max(most, work / total / share)
    }
  }

  /// About how many keys of others all ranks together need.
  private func keysOfOthers(_ division: Division, _ costs: TokenCosts) -> Double {
    var everywhere: [Range<Int>]?
    return division.queries.shards.indices.reduce(0) { sum, rank in
      let runs = division.queries.shards[rank]
      let reached: [Range<Int>]
      if runs.allSatisfy(\.isContiguous) {
        reached = merged(
          runs.flatMap { run in
            costs.strata(of: run.start..<run.start + run.count).flatMap {
              costs.reach(of: $0, keyTokens: keyTokens)
            }
          })
      } else {
        reached =
          everywhere
          ?? merged(costs.seen.indices.flatMap { costs.reach(of: $0, keyTokens: keyTokens) })
        everywhere = reached
      }
      let seen = reached.reduce(0) { $0 + $1.count }
      return sum + Double(seen - division.keys.shards[rank].reduce(0) { $0 + common($1, reached) })
    }
  }

  /// How many positions of a run lie in ranges that are in ascending order; of strided runs about
  /// as many as of their neighbours.
  private func common(_ run: PositionRange, _ ranges: [Range<Int>]) -> Int {
    guard let first = run.first, let last = run.last else { return 0 }
    var (low, high) = (0, ranges.count)
    while low < high {
      let middle = (low + high) / 2
      if ranges[middle].upperBound > first { high = middle } else { low = middle + 1 }
    }
    var count = 0
    for range in ranges[low...] {
      if range.lowerBound > last { break }
      count += (min(range.upperBound, last + 1) - max(range.lowerBound, first)) / run.stride
    }
    return count
  }

  /// Ranges in ascending order, those that touch joined.
  private func merged(_ ranges: [Range<Int>]) -> [Range<Int>] {
    var merged: [Range<Int>] = []
    for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) where !range.isEmpty {
      if let last = merged.last, range.lowerBound <= last.upperBound {
        merged[merged.count - 1] = last.lowerBound..<max(last.upperBound, range.upperBound)
      } else {
        merged.append(range)
      }
    }
    return merged
  }
}

/// `1.25`.
private func twoDecimals(_ value: Double) -> String {
  let hundredths = Int((value * 100).rounded())
  let rest = hundredths % 100
  return "\(hundredths / 100).\(rest < 10 ? "0" : "")\(rest)"
}
