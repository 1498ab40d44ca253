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
  /// What of it is computed.
  public let part: Part

  /// Some of the pairs of a problem, which are computed in a pass of their own.
  public enum Part: Hashable, Sendable {
    case all
    /// Those of some keys.
    case keys(Range<Int>)
    /// Those of some queries, by their indices.
    case queries([Range<Int>])
  }

  /// Describes a problem.
  public init(
    shape: AttentionShape, tokens: Int, layout: Layout, pattern: PatternChoice,
    wire: WireType = .f32, part: Part = .all
  ) {
    self.shape = shape
    self.tokens = tokens
    self.layout = layout
    self.pattern = pattern
    self.wire = wire
    self.part = part
  }

  /// The same of some pairs.
  public func of(_ part: Part) -> DenseProblem {
    DenseProblem(
      shape: shape, tokens: tokens, layout: layout, pattern: pattern, wire: wire, part: part)
  }

  /// What a query sees.
  var attentionPattern: any AttentionPattern {
    let whole = wholePattern
    return switch part {
    case .all: whole
    case .keys(let keys): IntersectedPattern([whole, KeyRangePattern(keys)])
    case .queries(let queries): IntersectedPattern([whole, QueryRangesPattern(queries)])
    }
  }

  private var wholePattern: any AttentionPattern {
    pattern.pattern(
      pattern.drawnInputs(
        batch: shape.batch, queryHeads: shape.queryHeads, tokens: tokens, keyTokens: tokens))
  }

  /// What the operator itself would be given; tokens are divided by the whole problem.
  public func sharded(ranks: Int) -> ShardedAttention {
    let whole = wholePattern
    let planner = LayoutPlanner(
      whole, shape: shape, tokens: tokens, keyTokens: tokens, ranks: ranks)
    guard let sharding = planner.decide(layout)?.queries.strided(by: whole.period) else {
      preconditionFailure("every layout goes without weights")
    }
    return ShardedAttention(
      shape: shape, queries: sharding, keys: sharding,
      pattern: part == .all ? whole : attentionPattern, wire: wire)
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
