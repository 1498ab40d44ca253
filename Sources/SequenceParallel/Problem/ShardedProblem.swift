public import Attention
public import Sharding
public import Tensors

/// Attention whose queries and keys are sharded among ranks, whatever a query sees of the keys.
///
/// What such problems have in common: the shapes of their tensors, who holds which rows of them,
/// how they are read, written and checked. It is a value that every rank has for itself.
public protocol ShardedProblem: Sendable {
  /// The dimensions of the problem.
  var shape: AttentionShape { get }
  /// Which rank holds which queries.
  var queries: Sharding { get }
  /// Which rank owns which keys and values.
  var keys: Sharding { get }
  /// Multiplies `q·k`.
  var scale: Double { get }
  /// What happens to a scaled score before the softmax; nil if nothing does.
  var scoreRule: (any ScoreRule)? { get }
  /// One more logit in the softmax of each row; nil if there is none.
  var sinks: LearnedSinks? { get }
  /// The type in which keys and values travel.
  var wire: WireType { get }
  /// How results are added up.
  var accumulation: Accumulation { get }
  /// What products are computed of.
  var arithmetic: Arithmetic { get }
}

extension ShardedProblem {
  /// Scores stay as they are.
  public var scoreRule: (any ScoreRule)? { nil }

  /// None.
  public var sinks: LearnedSinks? { nil }

  /// `Float`.
  public var arithmetic: Arithmetic { .f32 }

  /// How many ranks share the work.
  public var ranks: Int { queries.ranks }

  /// `[batch, tokens, queryHeads, headDim]` of the whole sequence.
  public var queryShape: Shape { [shape.batch, queries.tokens, shape.queryHeads, shape.headDim] }

  /// `[batch, keyTokens, kvHeads, headDim]` of the whole sequence.
  public var keyShape: Shape { [shape.batch, keys.tokens, shape.kvHeads, shape.headDim] }

  /// `[batch, keyTokens, kvHeads, valueHeadDim]` of the whole sequence.
  public var valueShape: Shape { [shape.batch, keys.tokens, shape.kvHeads, shape.valueHeadDim] }

  /// `[batch, tokens, queryHeads, valueHeadDim]` of the whole sequence.
  public var outputShape: Shape {
    [shape.batch, queries.tokens, shape.queryHeads, shape.valueHeadDim]
  }

  /// `[batch, queryHeads, tokens]` of the whole sequence.
  public var logSumExpShape: Shape {
    [shape.batch, shape.queryHeads, queries.tokens]
  }

  /// Reads a rank's own queries.
  ///
  /// - Parameter source: `[batch, tokens, queryHeads, headDim]`.
  public func loadQueries(
    _ source: some TokenRows, rank: Int, team: ThreadTeam = ThreadTeam(threads: 1)
  ) throws -> QueryShard {
    let runs = queries.shards[rank]
    return QueryShard(try source.read(shard: runs, team: team), runs: runs)
  }
}
