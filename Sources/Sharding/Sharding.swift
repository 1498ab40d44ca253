public import Tensors

/// The division of a sequence among ranks: every token belongs to exactly one rank.
///
/// Any number of tokens divides among any number of ranks; shards may be uneven or empty. A
/// sharding is a value that every rank computes for itself, without communication.
public struct Sharding: Hashable, Sendable {
  /// How positions map to ranks; nil where their shards were given one by one.
  public let layout: Layout?

  /// Tokens in the whole sequence.
  public let tokens: Int

  /// For each rank, the runs of global positions that it holds, in ascending order unless the
  /// sharding is ``grouped(by:)`` or its shards were given.
  ///
  /// There are no empty runs, so the list of a rank without tokens is empty.
  public let shards: [[PositionRange]]

  /// Divides `tokens` evenly: shards differ by at most one unit, with zigzag by at most two.
  ///
  /// - Parameter granularity: tokens of a unit, which is never divided; only the last unit of the
  ///   sequence may be short.
  /// - Precondition: the layout is one of ``Layout/regular``, `tokens ≥ 0`, `ranks ≥ 1` and
  ///   `granularity ≥ 1`.
  public init(_ layout: Layout, tokens: Int, ranks: Int, granularity: Int = 1) {
    precondition(ranks >= 1, "a sequence needs a rank to hold it")
    self.layout = layout
    self.tokens = tokens
    let units = Self.units(of: tokens, granularity: granularity)
    let shards =
      switch layout {
      case .contiguous:
        Self.contiguous(sizes: Self.evenSizes(of: units, ranks: ranks))
      case .zigzag:
        Self.mirrored(sizes: Self.evenSizes(of: units / 2, ranks: ranks), units: units)
      case .striped:
        Self.striped(units: units, ranks: ranks)
      case .balanced:
        preconditionFailure("a balanced layout needs the costs of tokens")
      }
    self.shards = shards.map { Self.tokens($0, of: tokens, granularity: granularity) }
  }

  /// Divides tokens in proportion to `weights`, for ranks of different speed.
  ///
  /// Work is proportional to tokens: for full attention in the contiguous layout, for causal
  /// attention in the zigzag layout. Returns nil for the striped layout, which is even by nature.
  ///
  /// - Parameters:
  ///   - weights: one for each rank, finite, not negative, and not all zero.
  ///   - granularity: tokens of a unit, which is never divided.
  public init?(_ layout: Layout, tokens: Int, weights: [Double], granularity: Int = 1) {
    precondition(
      weights.allSatisfy { $0.isFinite && $0 >= 0 } && weights.contains { $0 > 0 },
      "weights must be finite, not negative, and not all zero")
    self.layout = layout
    self.tokens = tokens
    let units = Self.units(of: tokens, granularity: granularity)
    let shards: [[PositionRange]]
    switch layout {
    case .contiguous:
      shards = Self.contiguous(sizes: Self.sizes(of: units, weights: weights))
    case .zigzag:
      shards = Self.mirrored(sizes: Self.sizes(of: units / 2, weights: weights), units: units)
    case .striped:
      return nil
    case .balanced:
      preconditionFailure("a balanced layout needs the costs of tokens")
    }
    self.shards = shards.map { Self.tokens($0, of: tokens, granularity: granularity) }
  }

  /// Takes shards that are known to give every position one owner.
  package init(layout: Layout?, tokens: Int, shards: [[PositionRange]]) {
    self.layout = layout
    self.tokens = tokens
    self.shards = shards
  }

  /// The same sequence divided among groups of neighbouring ranks: a group holds the runs of its
  /// ranks, one rank after the other.
  ///
  /// - Parameter size: ranks of a group.
  /// - Precondition: it divides the number of ranks.
  public func grouped(by size: Int) -> Sharding {
    precondition(size >= 1 && ranks % size == 0, "\(ranks) ranks in groups of \(size)")
    return Sharding(
      layout: layout, tokens: tokens,
      shards: stride(from: 0, to: ranks, by: size).map { first in
        shards[first..<first + size].flatMap { $0 }
      })
  }

  /// The same shards with every run cut into runs of every `step`-th position, for masks that see
  /// no others.
  ///
  /// Runs that have a multiple of the step for their stride stay as they are.
  public func strided(by step: Int) -> Sharding {
    Sharding(
      layout: layout, tokens: tokens,
      shards: shards.map { runs in
        runs.flatMap { $0.stride % step == 0 ? [$0] : $0.strided(by: step) }
      })
  }

  /// The number of ranks.
  public var ranks: Int { shards.count }

  /// The tokens that a rank holds.
  public func tokenCount(of rank: Int) -> Int {
    shards[rank].reduce(0) { $0 + $1.count }
  }

  /// The most tokens that any rank holds.
  public var largestTokenCount: Int {
    shards.indices.reduce(0) { max($0, tokenCount(of: $1)) }
  }

  /// The rank that holds a position, and the position's index among those the rank holds.
  ///
  /// - Precondition: `position` lies within `0..<tokens`.
  /// - Complexity: O(runs).
  public func owner(of position: Int) -> (rank: Int, localIndex: Int) {
    for (rank, runs) in shards.enumerated() {
      var before = 0
      for run in runs {
        if run.contains(position) {
          return (rank, before + (position - run.start) / run.stride)
        }
        before += run.count
      }
    }
    preconditionFailure("position \(position) is outside of 0..<\(tokens)")
  }

  // MARK: Units

  static func units(of tokens: Int, granularity: Int) -> Int {
    precondition(tokens >= 0, "a sequence cannot have \(tokens) tokens")
    precondition(granularity >= 1, "a unit needs a token")
    return tokens / granularity + (tokens % granularity == 0 ? 0 : 1)
  }

  /// The tokens of runs of units: neighbouring units are one run.
  private static func tokens(
    _ runs: [PositionRange], of tokens: Int, granularity: Int
  ) -> [PositionRange] {
    if granularity == 1 { return runs }
    let stretches = runs.flatMap { run in
      run.isContiguous
        ? [run] : run.map { PositionRange(start: $0, count: 1) }
    }
    return stretches.map {
      PositionRange($0.start * granularity..<min(($0.start + $0.count) * granularity, tokens))
    }
  }

  // MARK: Dividing

  /// Sizes that differ by at most one, larger ones first.
  static func evenSizes(of total: Int, ranks: Int) -> [Int] {
    (0..<ranks).map { total / ranks + ($0 < total % ranks ? 1 : 0) }
  }

  /// Sizes in proportion to weights, by rounding the cumulative shares: they add up exactly, and
  /// each is within one of its share.
  private static func sizes(of total: Int, weights: [Double]) -> [Int] {
    // Normalised by the largest first, so that the sum of huge weights stays finite.
    let largest = weights.reduce(0, max)
    let shares = weights.map { $0 / largest }
    let sum = shares.reduce(0, +)
    var cumulative = 0.0
    var previous = 0
    return shares.indices.map { rank in
      cumulative += shares[rank]
      let isLast = !shares[(rank + 1)...].contains { $0 > 0 }
      let cut = isLast ? total : min(total, Int((Double(total) * (cumulative / sum)).rounded()))
      defer { previous = cut }
      return cut - previous
    }
  }

  private static func contiguous(sizes: [Int]) -> [[PositionRange]] {
    var start = 0
    return sizes.map { size in
      defer { start += size }
      return size == 0 ? [] : [PositionRange(start: start, count: size)]
    }
  }

  /// `sizes[r]` units from each end, from the outside in; an odd middle unit goes to the last
  /// rank, whose two runs then touch it and become one.
  private static func mirrored(sizes: [Int], units: Int) -> [[PositionRange]] {
    var left = 0
    var shards = sizes.map { size in
      defer { left += size }
      return size == 0
        ? []
        : [
          PositionRange(start: left, count: size),
          PositionRange(start: units - left - size, count: size),
        ]
    }
    let middle = units / 2
    if units % 2 == 1 {
      let size = sizes[sizes.count - 1]
      shards[sizes.count - 1] = [PositionRange(start: middle - size, count: 2 * size + 1)]
    } else if let last = sizes.last, last > 0 {
      shards[sizes.count - 1] = [PositionRange(start: middle - last, count: 2 * last)]
    }
    return shards
  }

  private static func striped(units: Int, ranks: Int) -> [[PositionRange]] {
    (0..<ranks).map { rank in
      let count = max(0, (units - rank + ranks - 1) / ranks)
      return count == 0 ? [] : [PositionRange(start: rank, stride: ranks, count: count)]
    }
  }
}
