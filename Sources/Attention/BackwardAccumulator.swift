import Glibc
public import Tensors

/// The backward pass of a rank's queries: blocks of keys and values are taken in, in any order; the
/// gradients of the queries stay, those of a block are added to what travels with it.
///
/// Weights are computed again from the scores and the log-sum-exps of the forward pass:
/// `p = exp(s − lse)`, `ds = p ∘ (do·vᵀ − Δ)` with `Δ = Σ do ∘ o`, `dv = pᵀ do`, `dk = scale · dsᵀ q`,
/// `dq = scale · ds k`. A row that saw no key has gradients of exactly 0.
///
/// Source: Dao 2023, FlashAttention-2, Algorithm 2.
public struct BackwardAccumulator: ~Copyable {
  /// The dimensions of the problem.
  public let shape: AttentionShape

  /// How contributions are added.
  public let accumulation: Accumulation

  private let scale: Float
  private let pattern: any AttentionPattern
  private let team: ThreadTeam
  private let tokens: Int
  private var dq: QueryGradient

  /// `[batch, tokens, queryHeads, headDim]`, not yet multiplied by the scale.
  private enum QueryGradient: ~Copyable {
    case fast(Tensor<Float>)
    case reproducible(ReproducibleBuffer)
  }

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
  ///   - accumulation: how contributions are added; if reproducible, the shards of queries and keys
  ///     consist of whole leaves.
  public init(
    shape: AttentionShape, output: borrowing AttentionOutput,
    outputGradient: borrowing Tensor<Float>, scale: Double, pattern: any AttentionPattern,
    accumulation: Accumulation = .fast, team: ThreadTeam = ThreadTeam(threads: 1)
  ) {
    precondition(outputGradient.shape == output.o.shape, "do has not the shape of o")
    self.shape = shape
    self.scale = Float(scale)
    self.pattern = pattern
    self.team = team
    tokens = output.o.shape[1]
    self.accumulation = accumulation
    switch accumulation {
    case .fast:
      dq = .fast(Tensor(zeros: [shape.batch, tokens, shape.queryHeads, shape.headDim]))
    case .reproducible:
      dq = .reproducible(
        ReproducibleBuffer(
          rows: shape.batch * tokens * shape.queryHeads, columns: shape.headDim))
    }
    let rows: Shape = [shape.batch, shape.queryHeads, tokens]
    precondition(output.lse.shape == rows, "lse has not the shape of the queries")
    var lse = Tensor<Float>(zeros: rows)
    var lseRemainder = Tensor<Float>(zeros: rows)
    var delta = Tensor<Float>(zeros: rows)
    var lseSpan = lse.mutableSpan
    var remainderSpan = lseRemainder.mutableSpan
    var deltaSpan = delta.mutableSpan
    for batch in 0..<shape.batch {
      for token in 0..<tokens {
        for head in 0..<shape.queryHeads {
          let row = (batch * shape.queryHeads + head) * tokens + token
          let first = ((batch * tokens + token) * shape.queryHeads + head) * shape.valueHeadDim
          deltaSpan[row] = dot(
            output.o.span.extracting(first..<first + shape.valueHeadDim),
            outputGradient.span.extracting(first..<first + shape.valueHeadDim))
          let logSumExp = Double(output.lse.span[row]) + Double(output.lseRemainder.span[row])
          if logSumExp == -.infinity {
            lseSpan[row] = .infinity
          } else {
            let exact = logSumExp * M_LOG2E
            lseSpan[row] = Float(exact)
            remainderSpan[row] = Float(exact - Double(lseSpan[row]))
          }
        }
      }
    }
    self.lse = lse
    self.lseRemainder = lseRemainder
    self.delta = delta
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
      queries.tensor.shape == [shape.batch, tokens, shape.queryHeads, shape.headDim]
        && block.shape == shape,
      "queries or block of another problem")
    precondition(
      gradient.keyCount == block.keyCount && gradient.shape == shape
        && gradient.accumulation == accumulation, "gradients of another block")
    precondition(
      accumulation.accepts(queries.runs) && accumulation.accepts(block.runs),
      "the shards do not consist of whole leaves")
    let rows = unsafe BackwardRows(
      queries: UnsafePointer(queries.tensor.unsafeBaseAddress),
      outputGradient: UnsafePointer(outputGradient.unsafeBaseAddress),
      lse: UnsafePointer(lse.unsafeBaseAddress),
      lseRemainder: UnsafePointer(lseRemainder.unsafeBaseAddress),
      delta: UnsafePointer(delta.unsafeBaseAddress))
    let queryScale = scale * log2OfE
    switch dq {
    case .fast(let dq):
      let pass = unsafe BackwardPass(
        shape: shape, pattern: pattern, queryScale: queryScale, tokens: tokens,
        queryRuns: queries.runs, keyRuns: block.runs, heads: block.packedHeads(), rows: rows,
        dq: dq.unsafeBaseAddress, dk: gradient.keyRows, dv: gradient.valueRows,
        keyCount: block.keyCount, part: part)
      team.run(pass, poll: poll)
    case .reproducible(let dq):
      let pass = unsafe ReproducibleBackwardPass(
        shape: shape, pattern: pattern, queryScale: queryScale, tokens: tokens,
        queryRuns: queries.runs, keyRuns: block.runs, heads: block.packedHeads(), rows: rows,
        gradients: ReproducibleBackwardPass.Gradients(
          dq: dq.rows, dk: gradient.reproducibleKeyRows, dv: gradient.reproducibleValueRows),
        keyCount: block.keyCount, part: part)
      team.run(pass, poll: poll)
    }
  }

  /// Gives the gradients of the queries away, `[batch, tokens, queryHeads, headDim]`.
  public consuming func finish() -> Tensor<Float> {
    let factor = scale
    let shape: Shape = [shape.batch, tokens, shape.queryHeads, shape.headDim]
    switch consume dq {
    case .fast(var dq):
      var span = dq.mutableSpan
      for index in 0..<span.count { span[index] *= factor }
      return dq
    case .reproducible(let sums):
      let dq = Tensor<Float>(zeros: shape)
      unsafe sums.rows.write(
        rows: 0..<dq.count / shape[3], times: Double(factor), to: dq.unsafeBaseAddress)
      return dq
    }
  }
}

/// The dot product of two rows, eight partial sums at a time.
private func dot(_ a: Span<Float>, _ b: Span<Float>) -> Float {
  unsafe a.withUnsafeBufferPointer { a in
    unsafe b.withUnsafeBufferPointer { b in
      guard let first = a.baseAddress, let second = b.baseAddress else { return 0 }
      var sum = Vector()
      var index = 0
      while index + Vector.width <= a.count {
        unsafe sum.addProduct(
          Vector(loading: first, at: index), Vector(loading: second, at: index))
        index += Vector.width
      }
      var rest = sum.laneSum
      while index < a.count {
        unsafe rest += first[index] * second[index]
        index += 1
      }
      return rest
    }
  }
}
