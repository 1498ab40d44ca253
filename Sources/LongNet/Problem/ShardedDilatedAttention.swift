public import Attention
public import SequenceParallel
public import Sharding

/// Dilated attention that is to be computed, and which rank holds what of it.
///
/// Each branch cuts the sequence into segments of a *segment length*, and of each segment every row
/// whose distance from the head's first one is a multiple of the *dilation rate* attends to every
/// such row. Branches are merged by their softmax denominators. It is a value that every rank has
/// for itself; ``DilatedAttention`` computes it.
///
/// Source: Ding et al. 2023, LongNet: Scaling Transformers to 1,000,000,000 Tokens, §2.
public struct ShardedDilatedAttention: ShardedProblem {
  /// The dimensions of the problem.
  public let shape: AttentionShape
  /// Which rank holds which tokens, of queries and keys alike.
  public let sharding: Sharding
  /// Branches, offsets and mask.
  public let pattern: DilatedPattern
  /// What becomes of scaled scores, by positions in the sequence; nil if they stay as they are.
  ///
  /// It takes no gradients.
  public let scoreRule: (any ScoreRule)?
  /// One more logit in the merged softmax of each row; nil if there is none.
  public let sinks: LearnedSinks?
  /// Multiplies `q·k`.
  public let scale: Double
  /// What products are computed of.
  public let arithmetic: Arithmetic

  /// Describes the problem; all ranks must give the same values.
  ///
  /// - Parameters:
  ///   - shape: heads and head dims.
  ///   - sharding: which rank holds which tokens.
  ///   - branches: what is merged, at least one.
  ///   - headOffset: which rows a head selects.
  ///   - isCausal: whether a query sees no later keys.
  ///   - scoreRule: what becomes of scaled scores; nil if they stay as they are.
  ///   - sinks: one more logit in the merged softmax of each row; nil if there is none.
  ///   - scale: multiplies `q·k`; nil is 1/√headDim.
  ///   - arithmetic: what products are computed of; rows travel as `Float` in either case.
  /// - Throws: ``DilatedProblemError`` without a branch, and where there are more pairs than can be
  ///   counted.
  public init(
    shape: AttentionShape, sharding: Sharding, branches: [DilatedBranch],
    headOffset: HeadOffset = .modulo, isCausal: Bool,
    scoreRule: (any ScoreRule)? = nil, sinks: LearnedSinks? = nil, scale: Double? = nil,
    arithmetic: Arithmetic = .f32
  ) throws(DilatedProblemError) {
    pattern = try DilatedPattern(
      checking: branches, headOffset: headOffset, isCausal: isCausal, shape: shape,
      tokens: sharding.tokens)
    precondition(scoreRule.map { !$0.takesGradients } ?? true, "a rule without parameters")
    precondition(
      sinks == nil || sinks?.logits.count == shape.queryHeads, "a sink for each query head")
    self.scoreRule = scoreRule
    self.sinks = sinks
    self.shape = shape
    self.sharding = sharding
    self.scale = scale ?? 1 / Double(shape.headDim).squareRoot()
    self.arithmetic = arithmetic
  }

  /// Which rank holds which queries.
  public var queries: Sharding { sharding }
  /// Which rank owns which keys and values: those of its queries.
  public var keys: Sharding { sharding }
  /// Rows travel as they are.
  public var wire: WireType { .f32 }
  /// Outputs of branches are merged as they come home.
  public var accumulation: Accumulation { .fast }
}
