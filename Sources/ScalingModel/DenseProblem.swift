public import Attention
public import SequenceParallel
public import Sharding

/// Dense self-attention over a sequence that ranks share.
public struct DenseProblem: Hashable, Sendable {
  /// Heads and head dims.
  public let shape: AttentionShape
  /// Tokens of a sequence.
  public let tokens: Int
  /// Which rank holds which.
  public let layout: Layout
  /// Which keys a query sees.
  public let pattern: PatternChoice
  /// The type in which keys and values travel.
  public let wire: WireType

  /// Describes a problem.
  public init(
    shape: AttentionShape, tokens: Int, layout: Layout, pattern: PatternChoice,
    wire: WireType = .f32
  ) {
    self.shape = shape
    self.tokens = tokens
    self.layout = layout
    self.pattern = pattern
    self.wire = wire
  }

  /// What the operator itself would be given.
  public func sharded(ranks: Int) -> ShardedAttention {
    let pattern = pattern.pattern(
      pattern.drawnInputs(
        batch: shape.batch, queryHeads: shape.queryHeads, tokens: tokens, keyTokens: tokens))
    let planner = LayoutPlanner(
      pattern, shape: shape, tokens: tokens, keyTokens: tokens, ranks: ranks)
    guard let sharding = planner.decide(layout)?.queries.strided(by: pattern.period) else {
      preconditionFailure("every layout goes without weights")
    }
    return ShardedAttention(
      shape: shape, queries: sharding, keys: sharding, pattern: pattern, wire: wire)
  }

  /// Visible pairs of all heads and sequences.
  public var pairs: Double {
    pattern.pairs(tokens: tokens) * Double(shape.queryHeads * shape.batch)
  }
}

extension AttentionShape {
  /// Useful flops of a visible pair of one head.
  func flopsPerPair(_ pass: AttentionPass) -> Double {
    Double(pass == .forward ? forwardFlopsPerPair : backwardFlopsPerPair)
  }
}
