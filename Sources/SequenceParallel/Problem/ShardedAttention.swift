public import Attention
public import Sharding
import Tensors

/// What is to be computed, and which rank holds what of it.
///
/// `o_i = Σ_j softmax_j(f(scale · q_i·k_j) + bias_ij) v_j` over all keys of all ranks. It is a
/// value that every rank has for itself; ``DistributedAttention`` computes it.
public struct ShardedAttention: ShardedProblem {
  /// The dimensions of the problem.
  public let shape: AttentionShape
  /// Which rank holds which queries.
  public let queries: Sharding
  /// Which rank owns which keys and values.
  public let keys: Sharding
  /// What a query sees.
  public let pattern: any AttentionPattern
  /// What becomes of scaled scores, f; nil if they stay as they are.
  public let scoreRule: (any ScoreRule)?
  /// One more logit in the softmax of each row; nil if there is none.
  public let sinks: LearnedSinks?
  /// Multiplies `q·k`.
  public let scale: Double
  /// The type in which keys and values travel.
  public let wire: WireType
  /// How results are added up; reproducibly only where shards are cut at its granularity.
  public let accumulation: Accumulation
  /// What products are computed of.
  public let arithmetic: Arithmetic

  /// Describes the problem; all ranks must give the same values.
  ///
  /// - Parameters:
  ///   - scoreRule: what becomes of scaled scores; nil if they stay as they are.
  ///   - sinks: one more logit in the softmax of each row; nil if there is none.
  ///   - scale: multiplies `q·k`; nil is 1/√headDim.
  ///   - wire: the type in which keys and values travel and are held; queries, scores, accumulators
  ///     and gradients are `Float` always.
  ///   - accumulation: `.reproducible` gives the same bits for every number of ranks, layout,
  ///     transport and thread count; both shardings then need its granularity.
  ///   - arithmetic: what products are computed of. With bf16 nothing is lost on a wire of bf16
  ///     that is not lost in the arithmetic.
  public init(
    shape: AttentionShape, queries: Sharding, keys: Sharding, pattern: any AttentionPattern,
    scoreRule: (any ScoreRule)? = nil, sinks: LearnedSinks? = nil, scale: Double? = nil,
    wire: WireType = .f32, accumulation: Accumulation = .fast, arithmetic: Arithmetic = .f32
  ) {
    precondition(queries.ranks == keys.ranks, "queries and keys are sharded among the same ranks")
    precondition(
      (queries.shards + keys.shards).allSatisfy(accumulation.accepts),
      "shards are not cut at the granularity of the accumulation")
    self.shape = shape
    self.queries = queries
    self.keys = keys
    self.pattern = pattern
    precondition(
      sinks == nil || sinks?.logits.count == shape.queryHeads, "a sink for each query head")
    self.scoreRule = scoreRule
    self.sinks = sinks
    self.scale = scale ?? 1 / Double(shape.headDim).squareRoot()
    self.wire = wire
    self.accumulation = accumulation
    self.arithmetic = arithmetic
  }

  /// The same with other shards, and perhaps of fewer heads: what engines compute, which know
  /// nothing of sinks.
  func with(
    queries: Sharding, keys: Sharding, shape: AttentionShape? = nil
  ) -> ShardedAttention {
    ShardedAttention(
      shape: shape ?? self.shape, queries: queries, keys: keys, pattern: pattern,
      scoreRule: scoreRule, scale: scale, wire: wire, accumulation: accumulation,
      arithmetic: arithmetic)
  }

  /// The same with another score rule, which shifts scores as well.
  public func with(scoreRule: (any ScoreRule)?) -> ShardedAttention {
    ShardedAttention(
      shape: shape, queries: queries, keys: keys, pattern: pattern, scoreRule: scoreRule,
      sinks: sinks, scale: scale, wire: wire, accumulation: accumulation, arithmetic: arithmetic)
  }
}
