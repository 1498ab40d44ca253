public import AttentionTypes
public import Compute
public import Tensors

/// The backward pass of a rank's queries: blocks of keys and values are taken in, in any order; the
/// gradients of the queries stay, those of a block are added to what travels with it.
///
/// Weights are computed again from the scores and the log-sum-exps of the forward pass:
/// `p = exp(s − lse)`, `ds = p ∘ (do·vᵀ − Δ)` with `Δ = Σ do ∘ o`, `dv = pᵀ do`,
/// `dk = scale · dsᵀ q`, `dq = scale · ds k`. A row that saw no key has gradients of exactly 0.
///
/// Source: Dao 2023, FlashAttention-2, Algorithm 2.
public struct BackwardAccumulator: ~Copyable {
  /// The dimensions of the problem.
  public var shape: AttentionShape { computation.shape }

  /// How contributions are added.
  public var accumulation: Accumulation { computation.accumulation }

  private let computation: BlockComputation
  private let tokens: Int
  private var dq: QueryGradient

  /// `[batch, queryHeads, tokens]`, in base 2, +∞ for rows that saw no key.
  private let lse: Tensor<Float>
  /// What rounding took from `lse`.
  private let lseRemainder: Tensor<Float>
  /// `Σ do ∘ o`, `[batch, queryHeads, tokens]`.
  private let delta: Tensor<Float>

  /// Prepares the backward pass of `tokens` queries.
  ///
  /// - Parameters:
  ///   - output: what the forward pass gave for them, over all blocks.
  ///   - outputGradient: `do`, `[batch, tokens, queryHeads, valueHeadDim]`.
  ///   - scale: multiplies `q·k`, as in the forward pass.
  ///   - pattern: what a query sees, as in the forward pass.
  ///   - scoreRule: what becomes of scores, as in the forward pass.
  ///   - accumulation: how contributions are added; if reproducible, the shards of queries and keys
  ///     consist of whole leaves.
  ///   - arithmetic: what products are computed of, as in the forward pass.
  ///   - instructions: those of the kernels; one of ``InstructionSet/ofThisProcessor``.
  public init(
    shape: AttentionShape, output: borrowing AttentionOutput,
    outputGradient: borrowing Tensor<Float>, scale: Double, pattern: any AttentionPattern,
    scoreRule: (any ScoreRule)? = nil, accumulation: Accumulation = .fast,
    arithmetic: Arithmetic = .f32,
    instructions: InstructionSet = .inUse, team: ThreadTeam = ThreadTeam(threads: 1)
  ) {
    self.init(
      BlockComputation(
        shape: shape, scale: scale, pattern: pattern, scoreRule: scoreRule,
        accumulation: accumulation, arithmetic: arithmetic, instructions: instructions, team: team),
      output: output, outputGradient: outputGradient)
  }

  /// Prepares the backward pass of the queries that `output` is of.
  package init(
    _ computation: BlockComputation, output: borrowing AttentionOutput,
    outputGradient: borrowing Tensor<Float>
  ) {
    self.computation = computation
    let shape = computation.shape
    tokens = output.o.shape[1]
    dq = QueryGradient(shape: shape, tokens: tokens, accumulation: computation.accumulation)
    let rows: Shape = [shape.batch, shape.queryHeads, tokens]
    lse = Tensor(zeros: rows)
    lseRemainder = Tensor(zeros: rows)
    delta = Tensor(zeros: rows)
    unsafe BackwardStatistics(
      lse: lse.unsafeBaseAddress, lseRemainder: lseRemainder.unsafeBaseAddress,
      delta: delta.unsafeBaseAddress
    ).fill(
      shape: shape, output: output, outputGradient: outputGradient,
      arithmetic: computation.arithmetic, team: computation.team)
  }

  /// Adds what a block contributes to the gradients of the queries, and what the queries contribute
  /// to the gradients of the block.
  ///
  /// - Parameters:
  ///   - queries: the shard of the forward pass, `[batch, tokens, queryHeads, headDim]`.
  ///   - outputGradient: `do`, the same at every call.
  ///   - block: keys and values with their positions.
  ///   - gradient: the block's gradients so far.
  ///   - part: which of the block's keys, by tiles, or by leaves if reproducible.
  ///   - poll: as in ``ForwardAccumulator/attend(_:to:poll:)``.
  /// - Complexity: `10 · headDim` floating-point operations a visible pair.
  public mutating func attend(
    _ queries: borrowing QueryShard, outputGradient: borrowing Tensor<Float>,
    to block: borrowing KeyValueBlock, addingTo gradient: inout KeyValueGradient,
    part: BlockPart = .whole, poll: (_ scores: Int) -> Void = { _ in }
  ) {
    precondition(
      queries.tensor.shape == [shape.batch, tokens, shape.queryHeads, shape.headDim],
      "queries of another problem")
    let rows = unsafe BackwardRows(
      queries: UnsafePointer(queries.tensor.unsafeBaseAddress),
      outputGradient: UnsafePointer(outputGradient.unsafeBaseAddress),
      lse: UnsafePointer(lse.unsafeBaseAddress),
      lseRemainder: UnsafePointer(lseRemainder.unsafeBaseAddress),
      delta: UnsafePointer(delta.unsafeBaseAddress))
    unsafe computation.backward(
      tokens: tokens, runs: queries.runs, rows: rows, dq: dq.growingRows(), block: block,
      gradient: &gradient,
      part: part, poll: poll)
  }

  /// Gives the gradients of the queries away, `[batch, tokens, queryHeads, headDim]`.
  public consuming func finish() -> Tensor<Float> {
    dq.dq(scale: Double(computation.scale), team: computation.team)
  }
}
