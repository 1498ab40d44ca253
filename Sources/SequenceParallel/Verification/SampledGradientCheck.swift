public import Attention
public import AttentionReference
public import MPI
import Sharding
public import Tensors

/// A check of some rows of distributed gradients against sums in `Double`.
///
/// The gradient of a sampled query is summed over the keys that each rank owns, with the output and
/// the log-sum-exp of the row worked out anew. The gradients of a sampled key and its value are
/// summed over the queries that each rank owns, with the output and the log-sum-exp of the result,
/// which ``SampledCheck`` vouches for: worked out anew they would cost the whole problem. Inputs
/// are read from the sources again, and no rank holds more than a piece of the sequence. Inputs are
/// rounded as the wire and the arithmetic round them, by plain code: the gradients are those of
/// what has travelled and was computed with.
public struct SampledGradientCheck: Sendable {
  let attention: any ShardedProblem
  let scoreRule: (any ReferenceScoreRule)?
  let sinks: [Double]?
  let bias: MaskFunction
  let positions: ReferencePositions?
  let team: ThreadTeam
  /// Indices of the queries that it is about; nil is all.
  let queries: [Range<Int>]?
  /// Knows the sampled queries and their exact rows.
  let forward: SampledCheck
  private let keys: [SampledToken]

  /// Chooses the queries and the keys to check as ``SampledCheck`` does.
  ///
  /// - Parameters:
  ///   - attention: the problem that was solved.
  ///   - rows: the most queries to check, and the most keys.
  ///   - scoreRule: the twin of the problem's score rule; nil if it has none.
  ///   - sinks: one more score in each row of a head; nil if there is none.
  ///   - positions: what turns queries and keys of the sources; nil if nothing does.
  ///   - queries: indices of those to choose from, ascending; nil is all. Others are not looked
  ///     at, and are to add nothing to gradients, as `bias` says.
  ///   - team: computes this rank's part.
  ///   - bias: the mask as a plain function, added to the score: 0, a bias, or −∞.
  public init(
    of attention: some ShardedProblem, rows: Int = 16,
    scoreRule: (any ReferenceScoreRule)? = nil, sinks: [Double]? = nil,
    positions: ReferencePositions? = nil, among queries: [Range<Int>]? = nil,
    team: ThreadTeam = ThreadTeam(threads: 1),
    bias: @escaping MaskFunction
  ) {
    self.attention = attention
    self.scoreRule = scoreRule
    self.sinks = sinks
    self.bias = bias
    self.positions = positions
    self.team = team
    forward = SampledCheck(
      of: attention, rows: rows, scoreRule: scoreRule, sinks: sinks, positions: positions,
      among: queries, team: team, bias: bias)
    self.queries = queries
    keys = SampledToken.choose(
      rows: rows, batch: attention.shape.batch, tokens: attention.keys.tokens)
  }

  /// The same where all sequences see alike.
  public init(
    of attention: some ShardedProblem, rows: Int = 16,
    scoreRule: (any ReferenceScoreRule)? = nil, sinks: [Double]? = nil,
    positions: ReferencePositions? = nil,
    team: ThreadTeam = ThreadTeam(threads: 1),
    bias: @escaping @Sendable (_ query: Int, _ key: Int, _ head: Int) -> Double
  ) {
    self.init(
      of: attention, rows: rows, scoreRule: scoreRule, sinks: sinks, positions: positions,
      team: team,
      bias: { _, query, key, head in bias(query, key, head) })
  }

  /// Compares, called by all ranks together.
  ///
  /// - Parameters:
  ///   - gradients: this rank's gradients.
  ///   - output: this rank's result of the forward pass.
  ///   - q: the source of the queries.
  ///   - k: the source of the keys.
  ///   - v: the source of the values.
  ///   - outputGradient: the source of `do`, `[batch, tokens, queryHeads, valueHeadDim]`.
  ///   - biasGradients: those of a bias tensor, and its shape; nil if there are none.
  ///   - world: the communicator of the ranks.
  /// - Returns: the queries and keys that were compared, together, and the largest difference in
  ///   `dq`, `dk` or `dv`, each relative to `1 + max|oracle|` over the sampled rows; infinite where
  ///   one is not finite.
  /// - Throws: what a source throws, on every rank; `MPIError` where MPI fails.
  /// - Complexity: O(rows · (tokens + keyTokens) / P) in `Double`, and messages of
  ///   rows · queryHeads · (headDim + valueHeadDim) numbers.
  public func run(
    _ gradients: borrowing AttentionGradients, _ output: borrowing AttentionOutput,
    q: some TokenRows, k: some TokenRows, v: some TokenRows, outputGradient: some TokenRows,
    biasGradients: (part: BiasPart, shape: Shape)? = nil, on world: borrowing Communicator
  ) throws -> SampledCheck.Finding {
    let dsinks = try sinkError(gradients, output, outputGradient: outputGradient, on: world)
    return try run(
      dq: gradients.dq, dk: gradients.dk, dv: gradients.dv, others: dsinks, output, q: q, k: k,
      v: v, outputGradient: outputGradient, biasGradients: biasGradients, on: world)
  }

  /// Compares the gradients of what global tokens are computed with, called by all ranks together.
  ///
  /// - Parameters:
  ///   - q: the source of those rows.
  ///   - k: of the keys that they meet.
  ///   - v: of their values.
  public func run(
    _ gradients: borrowing ProjectionGradients, _ output: borrowing AttentionOutput,
    q: some TokenRows, k: some TokenRows, v: some TokenRows, outputGradient: some TokenRows,
    biasGradients: (part: BiasPart, shape: Shape)? = nil, on world: borrowing Communicator
  ) throws -> SampledCheck.Finding {
    try run(
      dq: gradients.dq, dk: gradients.dk, dv: gradients.dv, others: 0, output, q: q, k: k, v: v,
      outputGradient: outputGradient, biasGradients: biasGradients, on: world)
  }

  /// - Parameter others: the error of other gradients.
  private func run(
    dq ofQueries: borrowing Tensor<Float>, dk ofKeys: borrowing Tensor<Float>,
    dv ofValues: borrowing Tensor<Float>, others: Double, _ output: borrowing AttentionOutput,
    q: some TokenRows, k: some TokenRows, v: some TokenRows, outputGradient: some TokenRows,
    biasGradients: (part: BiasPart, shape: Shape)?, on world: borrowing Communicator
  ) throws -> SampledCheck.Finding {
    let k: any TokenRows = positions?.keys(k) ?? k
    var (dq, dk, dv) = (RelativeError(), RelativeError(), RelativeError())
    var largestScore = 0.0
    var sizes = (dq: 0.0, dk: 0.0, dv: 0.0)
    for batch in 0..<attention.shape.batch {
      let found = try compareQueryGradients(
        ofQueries, &dq, batch: batch, q: q, k: k, v: v, outputGradient: outputGradient, on: world)
      largestScore = max(largestScore, found.largestScore)
      sizes.dq = max(sizes.dq, found.size)
      let keyPositions = keys.positions(batch: batch)
      if !keyPositions.isEmpty {
        let keys = try rounded(k, batch: batch, positions: keyPositions, on: world)
        let values = try rounded(v, batch: batch, positions: keyPositions, on: world)
        var expected = try world.agree {
          try ownPartOfKeyGradients(
            keys, values, batch: batch, positions: keyPositions, output, q: q,
            outputGradient: outputGradient, rank: world.rank)
        }
        try expected.addUp(on: world)
        sizes.dk = max(sizes.dk, expected.sizes.dk.max() ?? 0)
        sizes.dv = max(sizes.dv, expected.sizes.dv.max() ?? 0)
        largestScore = max(largestScore, expected.largestScore)
        for (row, position) in keyPositions.enumerated() {
          let owner = attention.keys.owner(of: position)
          let token = owner.rank == world.rank ? owner.localIndex : nil
          let row = (
            dk: expected.dk.vector(row, count: k.rowLength),
            dv: expected.dv.vector(row, count: v.rowLength)
          )
          let ofKey = positions.map {
            $0.turnedBack(
              key: row.dk, headDim: attention.shape.headDim, batch: batch, at: position)[...]
          }
          compare(ofKeys, ofKey ?? row.dk, &dk, batch: batch, token: token)
          compare(ofValues, row.dv, &dv, batch: batch, token: token)
        }
      }
    }
    let dbias = try biasGradients.map {
      try compareBiasGradients(
        $0.part, shape: $0.shape, q: q, k: k, v: v, outputGradient: outputGradient, on: world)
    }
    let worst = max(dq.value, dk.value, dv.value, dbias?.value ?? 0, others)
    // Each term of a sum is off by as much of it, twice: its two factors are rounded.
    let ofTerms =
      2 * attention.inputRounding.factorError
      * max(dq.relative(sizes.dq), dk.relative(sizes.dk), dv.relative(sizes.dv))
    return SampledCheck.Finding(
      rows: forward.samples.count + keys.count,
      maxError: try world.allReduce(worst, with: .max),
      tolerance: 1e-4 + 16 * 0x1p-24 * (try world.allReduce(largestScore, with: .max)) + ofTerms,
      // The oracle's own keys and values are rounded as they are on the wire.
      wireTolerance: 0)
  }

  /// Compares `dq` of the sampled queries of a sequence, called by all ranks together.
  ///
  /// - Returns: the largest score of their rows, and the largest sum of the magnitudes of what a
  ///   gradient is the sum of.
  private func compareQueryGradients(
    _ gradients: borrowing Tensor<Float>, _ dq: inout RelativeError, batch: Int,
    q: some TokenRows, k: some TokenRows, v: some TokenRows, outputGradient: some TokenRows,
    on world: borrowing Communicator
  ) throws -> (largestScore: Double, size: Double) {
    let positions = forward.samples.positions(batch: batch)
    if positions.isEmpty { return (0, 0) }
    let queries = try SampledQueries(
      of: attention.queries, q, turnedBy: self.positions, batch: batch, positions: positions,
      on: world)
    let rowGradients = try attention.queries.share(
      outputGradient, batch: batch, positions: positions, on: world)
    let rows = try forward.exactRows(
      queries, batch: batch, positions: positions, k: k, v: v, attention.inputRounding, on: world)
    var expected = try world.agree {
      try ownPartOfQueryGradients(
        queries.map(attention.inputRounding.rows), rowGradients.map(attention.inputRounding.rows),
        rows.results, batch: batch, positions: positions, k: k, v: v,
        rank: world.rank)
    }
    try expected.addUp(on: world)
    for (row, position) in positions.enumerated() {
      let owner = attention.queries.owner(of: position)
      let ofSinks = expected.ofSinks.vector(row, count: q.rowLength)
      let beside = expected.beside.vector(row, count: q.rowLength)
      let row = expected.dq.vector(row, count: q.rowLength)
      let ofQuery = self.positions.map {
        let headDim = attention.shape.headDim
        let later = $0.turnedBack(query: row, headDim: headDim, batch: batch, at: position)
        let first = $0.turnedBack(
          queryAtSinks: ofSinks, headDim: headDim, batch: batch, at: position)
        return zip(later, first).map { $0 + $1 }[...]
      }
      compare(
        gradients, zip(ofQuery ?? row, beside).map { $0 + $1 }[...], &dq, batch: batch,
        token: owner.rank == world.rank ? owner.localIndex : nil)
    }
    return (rows.largestScore, expected.sizes.max() ?? 0)
  }

  /// Compares the gradients of sinks, called by all ranks together.
  ///
  /// They are summed over all rows of the result, of which ``SampledCheck`` vouches for some.
  private func sinkError(
    _ gradients: borrowing AttentionGradients, _ output: borrowing AttentionOutput,
    outputGradient: some TokenRows, on world: borrowing Communicator
  ) throws -> Double {
    var error = RelativeError()
    guard let sinks else { return 0 }
    var expected = try world.agree {
      try ownPartOfSinkGradients(sinks, output, outputGradient: outputGradient, rank: world.rank)
    }
    try world.allReduce(&expected, with: .sum)
    for (head, value) in expected.enumerated() {
      error.expect(value)
      let actual = gradients.dsinks.map { Double($0[head]) } ?? .nan
      error.compare(actual, value.isFinite ? value : .nan)
    }
    return error.value
  }

  /// What is left of sampled rows of keys or values that have travelled, on every rank.
  private func rounded(
    _ source: some TokenRows, batch: Int, positions: [Int], on world: borrowing Communicator
  ) throws -> [[Double]] {
    try attention.keys.share(source, batch: batch, positions: positions, on: world).map { row in
      attention.inputRounding.keys(row.map { Float($0) }, columns: source.shape[3])
    }
  }

  /// Compares the row of a token, if this rank has it, of a tensor
  /// `[batch, tokens, heads, columns]`.
  private func compare(
    _ tensor: borrowing Tensor<Float>, _ expected: ArraySlice<Double>,
    _ error: inout RelativeError, batch: Int, token: Int?
  ) {
    for value in expected { error.expect(value) }
    guard let token else { return }
    let first = (batch * tensor.shape[1] + token) * expected.count
    for (column, value) in expected.enumerated() {
      // An infinite gradient is wrong even where a wrong log-sum-exp leads the oracle to one too.
      error.compare(Double(tensor.span[first + column]), value.isFinite ? value : .nan)
    }
  }
}
