public import Attention
public import SequenceParallel
public import Sharding

/// Dense self-attention over a sequence that ranks share: full, or causal.
public struct DenseProblem: Hashable, Sendable {
  /// Heads and head dims.
  public let shape: AttentionShape
  /// Tokens of a sequence.
  public let tokens: Int
  /// Which rank holds which.
  public let layout: Layout
  /// Whether a query sees no key after itself.
  public let isCausal: Bool
  /// The type in which keys and values travel.
  public let wire: WireType

  /// Describes a problem.
  public init(
    shape: AttentionShape, tokens: Int, layout: Layout, isCausal: Bool, wire: WireType = .f32
  ) {
    self.shape = shape
    self.tokens = tokens
    self.layout = layout
    self.isCausal = isCausal
    self.wire = wire
  }

  /// What the operator itself would be given.
  public func sharded(ranks: Int) -> ShardedAttention {
    let sharding = Sharding(layout, tokens: tokens, ranks: ranks)
    return ShardedAttention(
      shape: shape, queries: sharding, keys: sharding,
      pattern: isCausal ? CausalPattern() : FullPattern(), wire: wire)
  }

  /// Visible pairs of all heads and sequences.
  public var pairs: Double {
    let n = Double(tokens)
    return (isCausal ? n * (n + 1) / 2 : n * n) * Double(shape.queryHeads * shape.batch)
  }
}

extension AttentionShape {
  /// Useful flops of a visible pair of one head.
  func flopsPerPair(_ pass: AttentionPass) -> Double {
    Double(pass == .forward ? forwardFlopsPerPair : backwardFlopsPerPair)
  }
}
