public import Attention
public import Tensors

/// What a rank does at each step of the ring: which block it holds, and whether it computes on it,
/// sends it on, and receives the next one.
///
/// At step `t` rank `r` holds the block of rank `(r − t) mod P`. A block travels only as far as the
/// last rank whose queries see any of it: under a causal mask in the contiguous layout, a block is
/// of no use to the ranks before its owner and never reaches them. Every rank computes the schedule
/// for itself from the layout and the pattern.
///
/// Source: Liu, Zaharia, Abbeel 2023, Ring Attention with Blockwise Transformers, Algorithm 1.
public struct RingSchedule: Hashable, Sendable {
  /// One step of one rank.
  public struct Step: Hashable, Sendable {
    /// The rank that owns the block in hand.
    public let owner: Int
    /// Whether any query of this rank sees any key of the block.
    public let computes: Bool
    /// Whether the block goes on to the next rank, for its next step.
    public let sends: Bool
    /// Whether a block comes in from the rank before, for this rank's next step.
    public let receives: Bool
  }

  /// The steps, one for each rank; without `receives` there is no block in the next step.
  public let steps: [Step]

  /// Computes the schedule of one rank.
  ///
  /// - Parameters:
  ///   - rank: whose schedule.
  ///   - queries: for each rank, the runs of queries that it holds.
  ///   - keys: for each rank, the runs of keys that it owns.
  ///   - pattern: what a query sees.
  /// - Complexity: O(P²) questions to the pattern.
  public init(
    rank: Int, queries: [[PositionRange]], keys: [[PositionRange]],
    pattern: any AttentionPattern
  ) {
    let ranks = queries.count
    precondition(keys.count == ranks, "as many shards of keys as of queries")
    /// For each block, how many hops it makes.
    let hops = keys.indices.map { owner in
      (0..<ranks).last { step in
        pattern.reaches(keys: keys[owner], queries: queries[(owner + step) % ranks])
      } ?? 0
    }
    steps = (0..<ranks).map { step in
      let owner = (rank - step + ranks) % ranks
      let next = (owner - 1 + ranks) % ranks
      return Step(
        owner: owner,
        computes: pattern.reaches(keys: keys[owner], queries: queries[rank]),
        sends: step + 1 <= hops[owner],
        receives: step + 1 < ranks && step + 1 <= hops[next])
    }
  }

  /// The bytes that this rank sends.
  ///
  /// Without blocks left out this is `(P − 1) · n · 2 · kvHeads · headDim · elementSize` for shards
  /// of `n` keys and equal head dims.
  ///
  /// - Parameter blockBytes: for each rank, the size of the block that it owns.
  public func bytesSent(blockBytes: [Int]) -> Int {
    steps.reduce(0) { $0 + ($1.sends ? blockBytes[$1.owner] : 0) }
  }
}
