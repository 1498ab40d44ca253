import Glibc
public import Tensors

/// The forward pass of a rank's queries: blocks of keys and values are taken in, in any order, and
/// the result is exact softmax attention over all of them.
///
/// The state of a query row is `(rowMax, rowSum, output)`; a block is merged into it by online
/// softmax. Memory is the output, the log-sum-exp, one more float a row, and a few hundred KiB a
/// thread.
public struct ForwardAccumulator: ~Copyable {
  /// The dimensions of the problem.
  public let shape: AttentionShape

  private let scale: Float
  private let pattern: any AttentionPattern
  private let team: ThreadTeam
  private let tokens: Int
  /// `[batch, tokens, queryHeads, valueHeadDim]`, not yet divided by the row sums.
  private var output: Tensor<Float>
  /// `[batch, queryHeads, tokens]`, in base 2; becomes the log-sum-exp at the end.
  private var rowMax: Tensor<Float>
  /// `[batch, queryHeads, tokens]`.
  private var rowSum: Tensor<Float>

  /// Creates the state of `tokens` queries that have seen nothing.
  ///
  /// - Parameters:
  ///   - scale: multiplies `q·k`, usually 1/√headDim.
  ///   - pattern: what a query sees.
  public init(
    shape: AttentionShape, tokens: Int, scale: Double, pattern: any AttentionPattern,
    team: ThreadTeam = ThreadTeam(threads: 1)
  ) {
    self.shape = shape
    self.scale = Float(scale) * log2OfE
    self.pattern = pattern
    self.team = team
    self.tokens = tokens
    output = Tensor(zeros: [shape.batch, tokens, shape.queryHeads, shape.valueHeadDim])
    rowMax = Tensor(repeating: -.infinity, shape: [shape.batch, shape.queryHeads, tokens])
    rowSum = Tensor(zeros: [shape.batch, shape.queryHeads, tokens])
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
      queries.tensor.shape == [shape.batch, tokens, shape.queryHeads, shape.headDim]
        && block.shape == shape, "queries or block of another problem")
    let pass = unsafe ForwardPass(
      shape: shape, scale: scale, pattern: pattern, tokens: tokens,
      queryRuns: queries.runs, queries: UnsafePointer(queries.tensor.unsafeBaseAddress),
      heads: unsafe block.packedHeads(), keyRuns: block.runs,
      output: output.unsafeBaseAddress, rowMax: rowMax.unsafeBaseAddress,
      rowSum: rowSum.unsafeBaseAddress)
    team.run(pass, poll: poll)
  }

  /// Divides by the row sums and gives the result away.
  ///
  /// - Returns: `o` `[batch, tokens, queryHeads, valueHeadDim]` and `lse` `[batch, queryHeads,
  ///   tokens]` in natural-log units. A row that saw no key has output 0 and log-sum-exp −∞.
  public consuming func finish() -> AttentionOutput {
    let output = unsafe output.unsafeBaseAddress
    let rowMax = unsafe rowMax.unsafeBaseAddress
    let rowSum = unsafe rowSum.unsafeBaseAddress
    for batch in 0..<shape.batch {
      for token in 0..<tokens {
        for head in 0..<shape.queryHeads {
          let row = (batch * shape.queryHeads + head) * tokens + token
          let sum = unsafe rowSum[row]
          // No key seen: the output is already 0 and the maximum already −∞.
          if sum == 0 { continue }
          let inverse = 1 / sum
          let first = ((batch * tokens + token) * shape.queryHeads + head) * shape.valueHeadDim
          for d in 0..<shape.valueHeadDim { unsafe output[first + d] *= inverse }
          let exact = unsafe Double(rowMax[row]) * M_LN2 + log(Double(sum))
          let rounded = Float(exact)
          unsafe rowMax[row] = rounded
          unsafe rowSum[row] = Float(exact - Double(rounded))
        }
      }
    }
    return AttentionOutput(o: self.output, lse: self.rowMax, lseRemainder: self.rowSum)
  }
}

/// What attention gives.
public struct AttentionOutput: ~Copyable {
  /// `[batch, tokens, queryHeads, valueHeadDim]`.
  public let o: Tensor<Float>

  /// Natural-log log-sum-exp of the scores, `[batch, queryHeads, tokens]`.
  public let lse: Tensor<Float>

  /// What rounding took from ``lse``, in its shape.
  ///
  /// The backward pass needs it: with scores in the hundreds a weight `exp(score − lse)` is only as
  /// exact as the log-sum-exp, and the last bit of that is already 10⁻⁴ of the weight.
  let lseRemainder: Tensor<Float>

  /// Takes both tensors.
  public init(o: consuming Tensor<Float>, lse: consuming Tensor<Float>) {
    let remainder = Tensor<Float>(zeros: lse.shape)
    self.init(o: o, lse: lse, lseRemainder: remainder)
  }

  init(
    o: consuming Tensor<Float>, lse: consuming Tensor<Float>,
    lseRemainder: consuming Tensor<Float>
  ) {
    self.o = o
    self.lse = lse
    self.lseRemainder = lseRemainder
  }
}
