public import AttentionTypes
public import Compute
import KernelSets
import Tensors

/// What is computed of the queries of one shard and the keys and values of another, whichever of
/// them has come to the other.
public struct BlockComputation: Sendable {
  /// The dimensions of the problem.
  public let shape: AttentionShape
  /// How contributions are added; if reproducible, shards consist of whole leaves.
  public let accumulation: Accumulation
  /// What products are computed of.
  public let arithmetic: Arithmetic

  /// The threads that compute.
  public let team: ThreadTeam

  let scale: Float
  private let pattern: any AttentionPattern
  private let scoreRule: (any ScoreRule)?
  private let kernels: any KernelSet.Type

  /// Describes the computation.
  ///
  /// - Parameters:
  ///   - scale: multiplies `q·k`, usually 1/√headDim.
  ///   - pattern: what a query sees.
  ///   - scoreRule: what becomes of scores; nil if nothing does.
  ///   - arithmetic: what products are computed of.
  ///   - instructions: those of the kernels; one of ``InstructionSet/ofThisProcessor``.
  public init(
    shape: AttentionShape, scale: Double, pattern: any AttentionPattern,
    scoreRule: (any ScoreRule)? = nil, accumulation: Accumulation = .fast,
    arithmetic: Arithmetic = .f32,
    instructions: InstructionSet = .inUse, team: ThreadTeam = ThreadTeam(threads: 1)
  ) {
    self.init(
      shape: shape, scale: scale, pattern: pattern, scoreRule: scoreRule,
      accumulation: accumulation, arithmetic: arithmetic, kernels: instructions.kernels, team: team)
  }

  /// The same with any kernels.
  package init(
    shape: AttentionShape, scale: Double, pattern: any AttentionPattern,
    scoreRule: (any ScoreRule)? = nil, accumulation: Accumulation = .fast,
    arithmetic: Arithmetic = .f32, kernels: any KernelSet.Type,
    team: ThreadTeam = ThreadTeam(threads: 1)
  ) {
    self.shape = shape
    self.scale = Float(scale)
    self.pattern = pattern
    self.scoreRule = scoreRule
    self.accumulation = accumulation
    self.arithmetic = arithmetic
    self.kernels = kernels
    self.team = team
  }

  // MARK: Queries that travel

  /// Takes keys and values into the state of every query of a block that sees any of them.
  ///
  /// - Parameters:
  ///   - queries: a block of either pass.
  ///   - block: keys and values with their positions. No key may come twice.
  ///   - partial: the state of the queries so far.
  ///   - part: which of the queries, by tiles.
  ///   - poll: as in ``ForwardAccumulator/attend(_:to:poll:)``.
  /// - Complexity: `4 · headDim` floating-point operations a visible pair.
  public func attend(
    _ queries: borrowing QueryBlock, to block: borrowing KeyValueBlock,
    addingTo partial: inout ForwardPartial, part: BlockPart = .whole,
    poll: (_ scores: Int) -> Void = { _ in }
  ) {
    precondition(
      queries.shape == shape && partial.shape == shape && partial.tokens == queries.tokens
        && partial.accumulation == accumulation, "queries or outputs of another problem")
    unsafe forward(
      tokens: queries.tokens, runs: queries.runs, queries: queries.rows.queries, block: block,
      results: partial.growingRows(), part: part, poll: poll)
  }

  /// Adds what queries and keys contribute to the gradients of each other.
  ///
  /// - Parameters:
  ///   - queries: a block of the backward pass.
  ///   - block: keys and values with their positions.
  ///   - queryGradient: the gradients of the queries so far.
  ///   - keyGradient: the gradients of the keys and values so far.
  ///   - part: which of the keys, by tiles, or by leaves if reproducible.
  ///   - poll: as in ``ForwardAccumulator/attend(_:to:poll:)``.
  /// - Complexity: `10 · headDim` floating-point operations a visible pair.
  public func addGradients(
    _ queries: borrowing QueryBlock, and block: borrowing KeyValueBlock,
    to queryGradient: inout QueryGradient, and keyGradient: inout KeyValueGradient,
    part: BlockPart = .whole, poll: (_ scores: Int) -> Void = { _ in }
  ) {
    precondition(
      queries.shape == shape && queries.pass == .backward && queryGradient.shape == shape
        && queryGradient.tokens == queries.tokens && queryGradient.accumulation == accumulation,
      "queries or gradients of another problem")
    unsafe backward(
      tokens: queries.tokens, runs: queries.runs, rows: queries.rows,
      dq: queryGradient.growingRows(),
      block: block, gradient: &keyGradient, part: part, poll: poll)
  }

  // MARK: Wherever rows lie

  /// The forward pass of rows at plain addresses.
  @unsafe
  func forward(
    tokens: Int, runs: [PositionRange], queries: UnsafePointer<Float>,
    block: borrowing KeyValueBlock, results: ResultRows, part: BlockPart = .whole,
    poll: (_ scores: Int) -> Void
  ) {
    precondition(block.shape == shape, "a block of another problem")
    unsafe forward(
      tokens: tokens, runs: runs, queries: queries, keyRuns: block.runs,
      heads: block.packedHeads(), results: results, part: part, poll: poll)
  }

  /// The same with keys wherever they lie.
  ///
  /// - Parameter heads: `[run][batch][kvHead]`, each with room for at least the keys of its run.
  @unsafe
  func forward(
    tokens: Int, runs: [PositionRange], queries: UnsafePointer<Float>, keyRuns: [PositionRange],
    heads: [PackedHead], results: ResultRows, part: BlockPart = .whole,
    poll: (_ scores: Int) -> Void
  ) {
    precondition(accumulation.accepts(keyRuns), "the block does not consist of whole leaves")
    let work = unsafe ForwardWork(
      shape: shape, pattern: pattern, scoreRule: scoreRule, queryScale: scale * log2OfE,
      tokens: tokens, queryRuns: runs, queries: queries, keyRuns: keyRuns, heads: heads,
      accumulation: accumulation, arithmetic: arithmetic, results: results, part: part)
    kernels.suited(to: work).forward(work, team: team, poll: poll)
  }

  /// The backward pass of rows at plain addresses.
  @unsafe
  func backward(
    tokens: Int, runs: [PositionRange], rows: BackwardRows, dq: SumRows,
    block: borrowing KeyValueBlock, gradient: inout KeyValueGradient, part: BlockPart,
    poll: (_ scores: Int) -> Void
  ) {
    precondition(block.shape == shape, "a block of another problem")
    precondition(
      gradient.keyCount == block.keyCount && gradient.shape == shape
        && gradient.accumulation == accumulation, "gradients of another block")
    precondition(
      accumulation.accepts(runs) && accumulation.accepts(block.runs),
      "the shards do not consist of whole leaves")
    let work = unsafe BackwardWork(
      shape: shape, pattern: pattern, scoreRule: scoreRule, queryScale: scale * log2OfE,
      tokens: tokens, queryRuns: runs, keyCount: block.keyCount, keyRuns: block.runs,
      heads: block.packedHeads(), rows: rows, accumulation: accumulation,
      arithmetic: arithmetic,
      gradients: GradientRows(dq: dq, dk: gradient.keyRows, dv: gradient.valueRows), part: part)
    kernels.backward(work, team: team, poll: poll)
  }
}
