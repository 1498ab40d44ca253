package import Tensors

/// The backward pass of one block against all queries of a rank, however its sums are divided into
/// units.
///
/// It holds plain addresses: whoever creates it keeps the tensors alive until the pass has run.
@safe
package struct BackwardWork: @unchecked Sendable {
  package let shape: AttentionShape
  package let pattern: any AttentionPattern
  package let scoreRule: (any ScoreRule)?
  /// scale · log₂e.
  package let queryScale: Float
  /// Queries of the shard, and their positions.
  package let tokens: Int
  package let queryRuns: [PositionRange]
  /// Keys of the block, and their positions.
  package let keyCount: Int
  package let keyRuns: [PositionRange]
  /// `[run][batch][kvHead]`.
  package let heads: [PackedHead]
  package let rows: BackwardRows
  package let accumulation: Accumulation
  package let arithmetic: Arithmetic
  /// Where gradients are added.
  package let gradients: GradientRows
  /// Which of the tiles of keys, or of the leaves if sums are reproducible.
  package let part: BlockPart

  /// Takes what the pass reads and adds to.
  @unsafe
  package init(
    shape: AttentionShape, pattern: any AttentionPattern, scoreRule: (any ScoreRule)?,
    queryScale: Float, tokens: Int, queryRuns: [PositionRange], keyCount: Int,
    keyRuns: [PositionRange], heads: [PackedHead], rows: BackwardRows,
    accumulation: Accumulation, arithmetic: Arithmetic, gradients: GradientRows, part: BlockPart
  ) {
    self.shape = shape
    self.pattern = pattern
    self.scoreRule = scoreRule
    self.queryScale = queryScale
    self.tokens = tokens
    self.queryRuns = queryRuns
    self.keyCount = keyCount
    self.keyRuns = keyRuns
    unsafe self.heads = heads
    unsafe self.rows = rows
    self.accumulation = accumulation
    self.arithmetic = arithmetic
    unsafe self.gradients = gradients
    self.part = part
  }
}

/// Rows of sums of gradients.
@unsafe
package struct GradientRows: @unchecked Sendable {
  /// `[batch, tokens, queryHeads]` rows.
  package let dq: SumRows
  /// `[batch, keys, kvHeads]` rows.
  package let dk: SumRows
  package let dv: SumRows

  package init(dq: SumRows, dk: SumRows, dv: SumRows) {
    unsafe self.dq = dq
    unsafe self.dk = dk
    unsafe self.dv = dv
  }
}
