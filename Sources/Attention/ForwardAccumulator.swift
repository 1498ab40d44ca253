public import Tensors

/// The forward pass of a rank's queries: blocks of keys and values are taken in, in any order, and
/// the result is exact softmax attention over all of them.
///
/// The state of a query row is `(rowMax, rowSum, output)`; a block is merged into it by online
/// softmax, with what rounding takes from the sums kept beside them, so that their error does not
/// grow with the number of keys. Memory is the output twice, three floats a row, and a few hundred
/// KiB a thread; reproducible sums take 16 bytes for a number of the output and 32 more a row.
public struct ForwardAccumulator: ~Copyable {
  /// The dimensions of the problem.
  public var shape: AttentionShape { computation.shape }

  /// How blocks are added.
  public var accumulation: Accumulation { computation.accumulation }

  private let computation: BlockComputation
  private let tokens: Int
  private let sums: Sums
  /// Of fast sums.
  private let remainders: RowRemainders

  private enum Sums: ~Copyable {
    case fast(FastForwardSums)
    case reproducible(ReproducibleForwardSums)
  }

  /// Creates the state of `tokens` queries that have seen nothing.
  ///
  /// - Parameters:
  ///   - scale: multiplies `q·k`, usually 1/√headDim.
  ///   - pattern: what a query sees.
  ///   - accumulation: how blocks are added; if reproducible, blocks consist of whole leaves, while
  ///     queries may be any.
  public init(
    shape: AttentionShape, tokens: Int, scale: Double, pattern: any AttentionPattern,
    accumulation: Accumulation = .fast, team: ThreadTeam = ThreadTeam(threads: 1)
  ) {
    computation = BlockComputation(
      shape: shape, scale: scale, pattern: pattern, accumulation: accumulation, team: team)
    self.tokens = tokens
    var remainders = RowRemainders(
      rows: shape.batch * tokens * shape.queryHeads, columns: shape.valueHeadDim)
    switch accumulation {
    case .fast:
      remainders.reserve()
      sums = .fast(FastForwardSums(shape: shape, tokens: tokens))
    case .reproducible:
      sums = .reproducible(ReproducibleForwardSums(shape: shape, tokens: tokens))
    }
    self.remainders = remainders
  }

  /// Takes a block of keys and values into the state of every query that sees any of it.
  ///
  /// - Parameters:
  ///   - queries: the same shard at every call, `[batch, tokens, queryHeads, headDim]`.
  ///   - block: keys and values with their positions. No key may come twice.
  ///   - poll: called on the caller's thread between tiles, some tens of microseconds apart, so
  ///     that transfers in flight make progress; it is told how many scores that thread has
  ///     computed since the last call.
  /// - Complexity: `4 · headDim` floating-point operations a visible pair.
  public mutating func attend(
    _ queries: borrowing QueryShard, to block: borrowing KeyValueBlock,
    poll: (_ scores: Int) -> Void = { _ in }
  ) {
    precondition(
      queries.tensor.shape == [shape.batch, tokens, shape.queryHeads, shape.headDim],
      "queries of another problem")
    unsafe computation.forward(
      tokens: tokens, runs: queries.runs,
      queries: UnsafePointer(queries.tensor.unsafeBaseAddress), block: block, state: state,
      poll: poll)
  }

  @unsafe
  private var state: ForwardState {
    switch sums {
    case .fast(let sums): unsafe .fast(CompensatedRowState(sums.rows, remainders))
    case .reproducible(let sums): unsafe .reproducible(sums.rows)
    }
  }

  /// Divides by the row sums and gives the result away.
  ///
  /// - Returns: `o` `[batch, tokens, queryHeads, valueHeadDim]` and `lse` `[batch, queryHeads,
  ///   tokens]` in natural-log units. A row that saw no key has output 0 and log-sum-exp −∞.
  public consuming func finish() -> AttentionOutput {
    switch consume sums {
    case .fast(let sums): sums.finish(remainders)
    case .reproducible(let sums): sums.finish()
    }
  }
}

/// What attention gives.
///
/// Frozen, so that other modules can take the tensors out without a copy.
@frozen
public struct AttentionOutput: ~Copyable {
  /// `[batch, tokens, queryHeads, valueHeadDim]`.
  public let o: Tensor<Float>

  /// Natural-log log-sum-exp of the scores, `[batch, queryHeads, tokens]`.
  public let lse: Tensor<Float>

  /// What rounding took from ``lse``, in its shape.
  ///
  /// The backward pass needs it: with scores in the hundreds a weight `exp(score − lse)` is only as
  /// exact as the log-sum-exp, and the last bit of that is already 10⁻⁴ of the weight.
  package let lseRemainder: Tensor<Float>

  /// Takes both tensors.
  public init(o: consuming Tensor<Float>, lse: consuming Tensor<Float>) {
    let remainder = Tensor<Float>(zeros: lse.shape)
    self.init(o: o, lse: lse, lseRemainder: remainder)
  }

  /// Takes all three tensors.
  package init(
    o: consuming Tensor<Float>, lse: consuming Tensor<Float>,
    lseRemainder: consuming Tensor<Float>
  ) {
    self.o = o
    self.lse = lse
    self.lseRemainder = lseRemainder
  }
}
