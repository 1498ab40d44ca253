public import Attention
public import AttentionReference
public import MPI
import Sharding
import Tensors

/// A check of some rows of a distributed result against the oracle.
///
/// The owner of a sampled row reads its query from the source again and tells the others; every
/// rank reads its own keys and values again and computes the row over them in `Double`; the parts
/// are combined, and the owner compares. Nothing that the kernels have touched is used but the
/// result itself, and no rank holds more than a piece of the sequence.
public struct SampledCheck: Sendable {
  /// What the check found, on every rank the same.
  public struct Finding: Hashable, Sendable {
    /// Rows that were compared, each with all of its heads.
    public let rows: Int
    /// The largest difference to the oracle in `o`, relative to `1 + max|oracle|` over the sampled
    /// rows, or in `lse`, as it is.
    ///
    /// That of a log-sum-exp is the relative error of the row sum, whatever its own size. Infinite
    /// where one is NaN, or infinite and should not be.
    public let maxError: Double
    /// The largest error that is put down to rounding: of the keys and values on the wire, and of
    /// arithmetic in single precision.
    public let tolerance: Double
    /// The part of it that is for the keys and values on the wire; 0 where they lose nothing there.
    public let wireTolerance: Double

    /// Whether the result is what it should be.
    public var holds: Bool { maxError <= tolerance }

    /// The same with an error of other numbers, if that is larger or no number.
    public func including(_ error: Double) -> Finding {
      Finding(
        rows: rows, maxError: error <= maxError ? maxError : error, tolerance: tolerance,
        wireTolerance: wireTolerance)
    }

    /// What two checks of different rows found: the rows of both, and the errors of the one that is
    /// further from what it should be.
    public func joined(with other: Finding) -> Finding {
      let isWorse = !(other.maxError / other.tolerance <= maxError / tolerance)
      let worse = isWorse ? other : self
      return Finding(
        rows: rows + other.rows, maxError: worse.maxError, tolerance: worse.tolerance,
        wireTolerance: worse.wireTolerance)
    }
  }

  private let attention: any ShardedProblem
  private let scoreRule: (any ReferenceScoreRule)?
  private let sinks: [Double]?
  private let positions: ReferencePositions?
  private let bias: MaskFunction
  private let team: ThreadTeam
  let samples: [SampledToken]

  /// Chooses the rows to check: the ends of the sequences, and others spread by a fixed hash.
  ///
  /// - Parameters:
  ///   - attention: the problem that was solved.
  ///   - rows: the most rows to check.
  ///   - scoreRule: the twin of the problem's score rule; nil if it has none.
  ///   - sinks: one more score in each row of a head; nil if there is none.
  ///   - positions: what turns queries and keys of the sources; nil if nothing does.
  ///   - queries: indices of those to choose from, ascending; nil is all. Others are not looked
  ///     at, and are to add nothing to gradients, as `bias` says.
  ///   - team: computes this rank's part.
  ///   - bias: the mask as a plain function, added to the score: 0, a bias, or −∞.
  public init(
    of attention: some ShardedProblem, rows: Int = 32,
    scoreRule: (any ReferenceScoreRule)? = nil, sinks: [Double]? = nil,
    positions: ReferencePositions? = nil, among queries: [Range<Int>]? = nil,
    team: ThreadTeam = ThreadTeam(threads: 1),
    bias: @escaping MaskFunction
  ) {
    precondition(
      (scoreRule == nil) == (attention.scoreRule == nil), "the oracle has another score rule")
    self.attention = attention
    self.scoreRule = scoreRule
    self.sinks = sinks
    self.positions = positions
    self.bias = bias
    self.team = team
    samples = SampledToken.choose(
      rows: rows, batch: attention.shape.batch, tokens: attention.queries.tokens, among: queries)
  }

  /// The same where all sequences see alike.
  public init(
    of attention: some ShardedProblem, rows: Int = 32,
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
  ///   - output: this rank's result.
  ///   - q: the source of the queries.
  ///   - k: the source of the keys.
  ///   - v: the source of the values.
  ///   - world: the communicator of the ranks.
  /// - Complexity: O(rows · keyTokens / P) in `Double`, and rows · queryHeads · (valueHeadDim + 3)
  ///   numbers from each rank to all.
  public func run(
    _ output: borrowing AttentionOutput, q: some TokenRows, k: some TokenRows, v: some TokenRows,
    on world: borrowing Communicator
  ) throws -> Finding {
    let k: any TokenRows = positions?.keys(k) ?? k
    var (o, lse) = (RelativeError(), RelativeError())
    var (wireO, wireLSE) = (RelativeError(), RelativeError())
    let rounding = attention.inputRounding
    var (largestScore, largestValue) = (0.0, 0.0)
    let turning = positions
    for batch in 0..<attention.shape.batch {
      let positions = samples.positions(batch: batch)
      if positions.isEmpty { continue }
      let queries = try SampledQueries(
        of: attention.queries, q, turnedBy: turning, batch: batch, positions: positions, on: world)
      func rows(_ rounding: InputRounding) throws -> ExactRows {
        try exactRows(
          queries, batch: batch, positions: positions, k: k, v: v, rounding, on: world)
      }
      let exact = try rows(.none)
      let travelled = try rounding.isExact ? exact : rows(rounding)
      largestScore = max(largestScore, exact.largestScore)
      largestValue = max(largestValue, exact.largestValue)
      for (row, position) in positions.enumerated() {
        let owner = attention.queries.owner(of: position)
        for head in 0..<attention.shape.queryHeads {
          let expected = exact.results[row * attention.shape.queryHeads + head]
          let rounded = travelled.results[row * attention.shape.queryHeads + head]
          for (value, other) in zip(expected.output, rounded.output) {
            o.expect(value)
            wireO.expect(value)
            wireO.compare(other, value)
          }
          lse.expect(expected.logSumExp)
          wireLSE.expect(expected.logSumExp)
          wireLSE.compare(rounded.logSumExp, expected.logSumExp)
          guard owner.rank == world.rank else { continue }
          let tokens = output.o.shape[1]
          let first = (batch * tokens + owner.localIndex) * attention.shape.queryHeads + head
          for (d, value) in expected.output.enumerated() {
            o.compare(Double(output.o.span[first * attention.shape.valueHeadDim + d]), value)
          }
          let index = (batch * attention.shape.queryHeads + head) * tokens + owner.localIndex
          lse.compare(Double(output.lse.span[index]), expected.logSumExp)
        }
      }
    }
    // The kernels are to compute on what has travelled as exactly as `Float` allows; what rounding
    // on the wire, and of inputs for the arithmetic, does to the exact result, the oracle says.
    let ofWire = max(wireO.value, wireLSE.absolute)
    // Weights that are rounded give a mean of the values that is off by at most as much of the
    // largest of them.
    let ofWeights = o.relative(rounding.factorError * largestValue)
    return Finding(
      rows: samples.count, maxError: try world.allReduce(max(o.value, lse.absolute), with: .max),
      tolerance: 1e-5 + 4 * 0x1p-24 * largestScore + ofWire + ofWeights, wireTolerance: ofWire)
  }

  /// Sampled rows over all keys.
  struct ExactRows {
    /// `[positions][queryHeads]`.
    let results: [ReferenceRow.Result]
    /// The largest magnitude of a score.
    let largestScore: Double
    /// The largest magnitude of a value that is seen.
    let largestValue: Double
  }

  /// Computes sampled rows over all keys, of inputs that are rounded.
  ///
  /// Called by all ranks together; the same on all.
  func exactRows(
    _ queries: SampledQueries, batch: Int, positions: [Int], k: some TokenRows, v: some TokenRows,
    _ rounding: InputRounding, on world: borrowing Communicator
  ) throws -> ExactRows {
    let parts = try world.allGather(
      world.agree {
        try ownPart(
          queries.map(rounding.rows), batch: batch, positions: positions, k: k, v: v, rounding,
          rank: world.rank)
      })
    let rows = (0..<positions.count * attention.shape.queryHeads).map { combined(parts, row: $0) }
    func largest(_ number: Int) -> Double {
      parts.flatMap { part in
        stride(from: number, to: part.count, by: partLength).map { part[$0] }
      }.max() ?? 0
    }
    return ExactRows(
      results: rows, largestScore: largest(partLength - 2), largestValue: largest(partLength - 1))
  }

  /// Numbers that describe a part of a row: output, log-sum-exp, largest magnitude of a score and
  /// of a value.
  private var partLength: Int { attention.shape.valueHeadDim + 3 }

  /// Rows over a piece of keys, `[positions][queryHeads]`.
  private struct PieceRows: Sendable {
    let results: [ReferenceRow.Result]
    /// Largest magnitudes.
    let largestScores: [Double]
    let largestValues: [Double]
  }

  /// The sampled rows over this rank's keys, `[positions][queryHeads][partLength]`.
  private func ownPart(
    _ queries: SampledQueries, batch: Int, positions: [Int], k: some TokenRows, v: some TokenRows,
    _ rounding: InputRounding, rank: Int
  ) throws -> [Double] {
    let (shape, scale) = (attention.shape, attention.scale)
    let pieces = attention.keys.pieces(of: rank, rowLength: max(k.rowLength, v.rowLength))
    let rowCount = positions.count * shape.queryHeads
    // Each piece of keys is read and gone through by one thread.
    let parts = try team.map(pieces.count) { piece in
      let tokens = pieces[piece].tokens
      var results: [ReferenceRow.Result] = []
      var largestScores = [Double](repeating: 0, count: rowCount)
      var largestValues = largestScores
      let keys = rounding.keys(
        try k.rows(batch: batch, tokens: tokens), columns: shape.headDim)
      let values = rounding.keys(
        try v.rows(batch: batch, tokens: tokens), columns: shape.valueHeadDim)
      for (row, position) in positions.enumerated() {
        for head in 0..<shape.queryHeads {
          var reference = ReferenceRow(valueHeadDim: shape.valueHeadDim)
          let index = row * shape.queryHeads + head
          for (token, key) in tokens.enumerated() {
            let added = bias(batch, position, key, head)
            if added == -.infinity { continue }
            let kvRow = token * shape.kvHeads + head * shape.kvHeads / shape.queryHeads
            let query = queries.vector(
              row, head, columns: shape.headDim, batch: batch, query: position, meeting: key)
            let plain = scale * dot(query, keys.vector(kvRow, count: shape.headDim))
            let score =
              added
              + (scoreRule?.score(
                plain, batch: batch, query: position, key: key, head: head) ?? plain)
            largestScores[index] = max(largestScores[index], abs(score))
            let value = values.vector(kvRow, count: shape.valueHeadDim)
            largestValues[index] = value.reduce(largestValues[index]) { max($0, abs($1)) }
            reference.add(score: score, value: value)
          }
          results.append(reference.result)
        }
      }
      return PieceRows(
        results: results, largestScores: largestScores, largestValues: largestValues)
    }
    func largest(_ numbers: KeyPath<PieceRows, [Double]>, _ row: Int) -> Double {
      parts.map { $0[keyPath: numbers][row] }.max() ?? 0
    }
    return (0..<rowCount).flatMap { row in
      let whole = ReferenceRow.combine(
        parts.map { $0.results[row] } + [ReferenceRow(valueHeadDim: shape.valueHeadDim).result])
      return whole.output
        + [whole.logSumExp, largest(\.largestScores, row), largest(\.largestValues, row)]
    }
  }

  /// One row over all keys.
  private func combined(_ parts: [[Double]], row: Int) -> ReferenceRow.Result {
    let columns = attention.shape.valueHeadDim
    let start = row * partLength
    let ofKeys = parts.map {
      ReferenceRow.Result(
        output: Array($0[start..<start + columns]), logSumExp: $0[start + columns])
    }
    let ofSink = sinks.map {
      ReferenceRow.Result(
        output: [Double](repeating: 0, count: columns),
        logSumExp: $0[row % attention.shape.queryHeads])
    }
    return ReferenceRow.combine(ofKeys + (ofSink.map { [$0] } ?? []))
  }
}
