package import Tensors

/// The forward pass of one block against all queries of a rank.
///
/// It holds plain addresses: whoever creates it keeps the tensors alive until the pass has run.
@safe
package struct ForwardWork: @unchecked Sendable {
  package let shape: AttentionShape
  package let pattern: any AttentionPattern
  package let scoreRule: (any ScoreRule)?
  /// scale · log₂e.
  package let queryScale: Float
  /// Queries of the shard, and their positions.
  package let tokens: Int
  package let queryRuns: [PositionRange]
  /// `[batch, tokens, queryHeads, headDim]`.
  package let queries: UnsafePointer<Float>
  package let keyRuns: [PositionRange]
  /// `[run][batch][kvHead]`.
  package let heads: [PackedHead]
  package let accumulation: Accumulation
  package let arithmetic: Arithmetic
  /// Where results are added.
  package let results: ResultRows
  /// Which of the tiles of queries.
  package let part: BlockPart

  /// Takes what the pass reads and adds to.
  @unsafe
  package init(
    shape: AttentionShape, pattern: any AttentionPattern, scoreRule: (any ScoreRule)?,
    queryScale: Float, tokens: Int, queryRuns: [PositionRange], queries: UnsafePointer<Float>,
    keyRuns: [PositionRange], heads: [PackedHead],
    accumulation: Accumulation, arithmetic: Arithmetic, results: ResultRows, part: BlockPart
  ) {
    self.shape = shape
    self.pattern = pattern
    self.scoreRule = scoreRule
    self.queryScale = queryScale
    self.tokens = tokens
    self.queryRuns = queryRuns
    unsafe self.queries = queries
    self.keyRuns = keyRuns
    unsafe self.heads = heads
    self.accumulation = accumulation
    self.arithmetic = arithmetic
    unsafe self.results = results
    self.part = part
  }

  /// The rows of queries that read one KV head, at most.
  package var rowsOfKVHead: Int { min(shape.groupSize, shape.queryHeads) * tokens }
}
