import Attention
import AttentionReference
import Glibc
import MPI
import Sharding
import Tensors

/// The sums of the chain rule through the softmax: with `p_ij = exp(s_ij − lse_i)` and
/// `Δ_i = do_i·o_i`, `dv_j = Σ_i p_ij do_i`, and of `ds_ij = scale · p_ij (do_i·v_j − Δ_i) f′_ij`,
/// `dq_i = Σ_j ds_ij k_j` and `dk_j = Σ_i ds_ij q_i`.
extension SampledGradientCheck {
  /// What is found out about sampled queries, `[positions][queryHeads][headDim]` each.
  struct QueryGradients: Sendable {
    /// Of queries as later keys meet them.
    var dq: [Double]
    /// Of queries as first keys meet them, which may be others.
    var ofSinks: [Double]
    /// Of queries as they are in the source.
    var beside: [Double]
    /// The sums of the magnitudes of what they are the sums of.
    var sizes: [Double]

    fileprivate init(count: Int) {
      dq = [Double](repeating: 0, count: count)
      (ofSinks, beside, sizes) = (dq, dq, dq)
    }

    fileprivate mutating func add(_ other: QueryGradients) {
      dq.add(1, times: other.dq[...], to: 0)
      ofSinks.add(1, times: other.ofSinks[...], to: 0)
      beside.add(1, times: other.beside[...], to: 0)
      sizes.add(1, times: other.sizes[...], to: 0)
    }

    /// Adds up what all ranks have found, called by them together.
    mutating func addUp(on world: borrowing Communicator) throws(MPIError) {
      try world.allReduce(&dq, with: .sum)
      try world.allReduce(&ofSinks, with: .sum)
      try world.allReduce(&beside, with: .sum)
      try world.allReduce(&sizes, with: .sum)
    }
  }

  /// The gradients of sampled queries over this rank's keys.
  ///
  /// - Parameters:
  ///   - queries: `[positions][queryHeads · headDim]`.
  ///   - rowGradients: `do`, `[positions][queryHeads · valueHeadDim]`.
  ///   - rows: the exact rows over all keys, `[positions][queryHeads]`.
  func ownPartOfQueryGradients(
    _ queries: SampledQueries, _ rowGradients: [[Double]], _ rows: [ReferenceRow.Result],
    batch: Int, positions: [Int], k: some TokenRows, v: some TokenRows, rank: Int
  ) throws -> QueryGradients {
    let (shape, scale, turning) = (attention.shape, attention.scale, self.positions)
    let rounding = attention.inputRounding
    let pieces = attention.keys.pieces(of: rank, rowLength: max(k.rowLength, v.rowLength))
    let zeros = QueryGradients(count: rows.count * shape.headDim)
    // Each piece of keys is read and gone through by one thread.
    let parts = try team.map(pieces.count) { piece in
      let tokens = pieces[piece].tokens
      var sums = zeros
      let keys = rounding.keys(
        try k.rows(batch: batch, tokens: tokens), columns: shape.headDim)
      let values = rounding.keys(
        try v.rows(batch: batch, tokens: tokens), columns: shape.valueHeadDim)
      for (index, row) in rows.enumerated() {
        let (sample, head) = index.quotientAndRemainder(dividingBy: shape.queryHeads)
        let rowGradient = rowGradients[sample].vector(head, count: shape.valueHeadDim)
        let delta = dot(rowGradient, row.output[...])
        for (token, position) in tokens.enumerated() {
          let added = bias(batch, positions[sample], position, head)
          if added == -.infinity { continue }
          let kvRow = token * shape.kvHeads + head * shape.kvHeads / shape.queryHeads
          let key = keys.vector(kvRow, count: shape.headDim)
          let value = values.vector(kvRow, count: shape.valueHeadDim)
          let query = queries.vector(
            sample, head, columns: shape.headDim, batch: batch, query: positions[sample],
            meeting: position)
          let (score, slope) = changed(
            scale * dot(query, key), batch, positions[sample], position, head)
          let weight = exp(score + added - row.logSumExp)
          let scoreGradient = scale * slope * weight * (dot(rowGradient, value) - delta)
          let met = turning.undecayed(
            query: key, batch: batch, query: positions[sample], key: position)
          if queries.isSink(position) {
            sums.ofSinks.add(scoreGradient, times: met, to: index)
          } else {
            sums.dq.add(scoreGradient, times: met, to: index)
          }
          let beside = scoreRule?.queryGradient(
            batch: batch, query: positions[sample], key: position, head: head)
          if let beside {
            sums.beside.add(scoreGradient / (scale * slope), times: beside[...], to: index)
          }
          if rounding.factorError == 0 { continue }
          let size = productSize(rowGradient, value) + productSize(rowGradient, row.output[...])
          sums.sizes.add(
            scale * abs(slope) * weight * size, times: key.magnitudes, to: index)
        }
      }
      return sums
    }
    return parts.reduce(into: zeros) { $0.add($1) }
  }

  /// What is found out about sampled keys.
  struct KeyGradients {
    var dk: [Double]
    var dv: [Double]
    /// The sums of the magnitudes of what they are the sums of.
    var sizes: (dk: [Double], dv: [Double])
    var largestScore: Double

    /// Adds up what all ranks have found, called by them together.
    mutating func addUp(on world: borrowing Communicator) throws(MPIError) {
      try world.allReduce(&dk, with: .sum)
      try world.allReduce(&dv, with: .sum)
      try world.allReduce(&sizes.dk, with: .sum)
      try world.allReduce(&sizes.dv, with: .sum)
    }
  }

  /// The gradients of sampled keys and values over this rank's queries,
  /// `[positions][kvHeads][headDim]` and `[positions][kvHeads][valueHeadDim]`, and the largest
  /// magnitude of a score.
  ///
  /// A row that sees no key adds nothing, and needs no case of its own. A row that sees a sampled
  /// key although its log-sum-exp is −∞ makes the sums infinite or NaN, as it should: the result is
  /// wrong.
  ///
  /// - Parameters:
  ///   - keys: `[positions][kvHeads · headDim]`.
  ///   - values: `[positions][kvHeads · valueHeadDim]`.
  ///   - output: this rank's result of the forward pass.
  func ownPartOfKeyGradients(
    _ keys: [[Double]], _ values: [[Double]], batch: Int, positions: [Int],
    _ output: borrowing AttentionOutput, q: some TokenRows, outputGradient: some TokenRows,
    rank: Int
  ) throws -> KeyGradients {
    let (shape, scale, turning) = (attention.shape, attention.scale, self.positions)
    let rounding = attention.inputRounding
    let ownTokens = attention.queries.tokenCount(of: rank)
    let dk = [Double](repeating: 0, count: positions.count * shape.kvHeads * shape.headDim)
    let dv = [Double](repeating: 0, count: positions.count * shape.kvHeads * shape.valueHeadDim)
    var sums = KeyGradients(dk: dk, dv: dv, sizes: (dk, dv), largestScore: 0)
    let pieces = attention.queries.pieces(
      of: rank, rowLength: max(q.rowLength, outputGradient.rowLength))
    for (tokens, localIndex) in pieces {
      let queries = try ownQueries(q, batch: batch, tokens: tokens)
      let rowGradients = rounding.rows(
        try outputGradient.rows(batch: batch, tokens: tokens).map(Double.init))
      let rowStatistics = statistics(
        of: output, rowGradients, batch: batch, tokens: localIndex..<localIndex + tokens.count,
        of: ownTokens)
      // Each query head is a unit.
      let parts = try team.map(shape.queryHeads) { head in
        let kvHead = head * shape.kvHeads / shape.queryHeads
        var part = KeyPart(samples: positions.count, shape)
        for (token, position) in tokens.enumerated() {
          let row = token * shape.queryHeads + head
          let rowGradient = rowGradients.vector(row, count: shape.valueHeadDim)
          for sample in positions.indices {
            let added = bias(batch, position, positions[sample], head)
            if added == -.infinity { continue }
            let query = queries.vector(
              0, row, columns: shape.headDim, batch: batch, query: position,
              meeting: positions[sample])
            let key = keys[sample].vector(kvHead, count: shape.headDim)
            let value = values[sample].vector(kvHead, count: shape.valueHeadDim)
            let (plain, slope) = changed(
              scale * dot(query, key), batch, position, positions[sample], head)
            let score = plain + added
            part.largestScore = max(part.largestScore, abs(score))
            let weight = exp(score - rowStatistics[row].lse)
            let scoreGradient =
              scale * slope * weight * (dot(rowGradient, value) - rowStatistics[row].delta)
            let met = turning.undecayed(key: query, batch: batch, positions[sample])
            part.dk.add(scoreGradient, times: met, to: sample)
            part.dv.add(weight, times: rowGradient, to: sample)
            if rounding.factorError == 0 { continue }
            let size = productSize(rowGradient, value) + rowStatistics[row].deltaSize
            part.dkSizes.add(
              scale * abs(slope) * weight * size, times: query.magnitudes, to: sample)
            part.dvSizes.add(weight, times: rowGradient.magnitudes, to: sample)
          }
        }
        return part
      }
      for (head, part) in parts.enumerated() {
        add(part, of: head, samples: positions.count, to: &sums)
      }
    }
    return sums
  }

  /// Some of a rank's queries, as one row of rows each.
  func ownQueries(
    _ source: some TokenRows, batch: Int, tokens: PositionRange
  ) throws -> SampledQueries {
    func rows(_ source: any TokenRows) throws -> [[Double]] {
      [try source.rows(batch: batch, tokens: tokens).map(Double.init)]
    }
    return SampledQueries(
      rows: try rows(positions?.queries(source) ?? source),
      atSinks: try positions?.queriesAtSinks(source).map(rows), turning: positions
    ).map(attention.inputRounding.rows)
  }

  /// The gradients of sinks over this rank's queries, `−Σ_i exp(z_h − lse_i) Δ_i`.
  ///
  /// - Parameter sinks: z, `[queryHeads]`.
  func ownPartOfSinkGradients(
    _ sinks: [Double], _ output: borrowing AttentionOutput, outputGradient: some TokenRows,
    rank: Int
  ) throws -> [Double] {
    var sums = [Double](repeating: 0, count: sinks.count)
    let ownTokens = attention.queries.tokenCount(of: rank)
    let pieces = attention.queries.pieces(of: rank, rowLength: outputGradient.rowLength)
    for batch in 0..<attention.shape.batch {
      for (tokens, localIndex) in pieces {
        let rowGradients = try outputGradient.rows(batch: batch, tokens: tokens).map(Double.init)
        let rows = statistics(
          of: output, rowGradients, batch: batch, tokens: localIndex..<localIndex + tokens.count,
          of: ownTokens)
        for (index, row) in rows.enumerated() {
          let head = index % sinks.count
          sums[head] -= exp(sinks[head] - row.lse) * row.delta
        }
      }
    }
    return sums
  }

  /// Adds what the queries of one head do to those of the KV head that they read.
  private func add(_ part: KeyPart, of head: Int, samples: Int, to sums: inout KeyGradients) {
    let shape = attention.shape
    let kvHead = head * shape.kvHeads / shape.queryHeads
    sums.largestScore = max(sums.largestScore, part.largestScore)
    for sample in 0..<samples {
      let index = sample * shape.kvHeads + kvHead
      sums.dk.add(1, times: part.dk.vector(sample, count: shape.headDim), to: index)
      sums.dv.add(1, times: part.dv.vector(sample, count: shape.valueHeadDim), to: index)
      sums.sizes.dk.add(1, times: part.dkSizes.vector(sample, count: shape.headDim), to: index)
      sums.sizes.dv.add(
        1, times: part.dvSizes.vector(sample, count: shape.valueHeadDim), to: index)
    }
  }

  /// What some queries of one head do to the sampled keys.
  private struct KeyPart: Sendable {
    /// `[positions][headDim]`.
    var dk: [Double]
    /// `[positions][valueHeadDim]`.
    var dv: [Double]
    /// The sums of the magnitudes of what they are the sums of.
    var dkSizes: [Double]
    var dvSizes: [Double]
    var largestScore = 0.0

    init(samples: Int, _ shape: AttentionShape) {
      dk = [Double](repeating: 0, count: samples * shape.headDim)
      dv = [Double](repeating: 0, count: samples * shape.valueHeadDim)
      dkSizes = dk
      dvSizes = dv
    }
  }

  /// The log-sum-exp and `Δ` of a row of the result.
  struct RowStatistics: Sendable {
    let lse: Double
    let delta: Double
    /// The sum of the magnitudes of what `Δ` is the sum of.
    let deltaSize: Double
  }

  /// Of some of a rank's tokens, `[tokens][queryHeads]`.
  ///
  /// - Parameters:
  ///   - rowGradients: `do` of these tokens, `[tokens][queryHeads][valueHeadDim]`.
  ///   - tokens: indices among the rank's.
  ///   - ownTokens: how many the rank has.
  func statistics(
    of output: borrowing AttentionOutput, _ rowGradients: [Double], batch: Int,
    tokens: Range<Int>, of ownTokens: Int
  ) -> [RowStatistics] {
    let (heads, width) = (attention.shape.queryHeads, attention.shape.valueHeadDim)
    var rows: [RowStatistics] = []
    for (index, token) in tokens.enumerated() {
      for head in 0..<heads {
        let first = ((batch * ownTokens + token) * heads + head) * width
        var (delta, deltaSize) = (0.0, 0.0)
        for (d, gradient) in rowGradients.vector(index * heads + head, count: width).enumerated() {
          let term = gradient * Double(output.o.span[first + d])
          delta += term
          deltaSize += abs(term)
        }
        let lse = Double(output.lse.span[(batch * heads + head) * ownTokens + token])
        rows.append(RowStatistics(lse: lse, delta: delta, deltaSize: deltaSize))
      }
    }
    return rows
  }

  /// A scaled score after the rule, and the derivative.
  func changed(
    _ s: Double, _ batch: Int, _ query: Int, _ key: Int, _ head: Int
  ) -> (score: Double, slope: Double) {
    guard let scoreRule else { return (s, 1) }
    return (
      scoreRule.score(s, batch: batch, query: query, key: key, head: head),
      scoreRule.slope(s, batch: batch, query: query, key: key, head: head)
    )
  }
}

/// The sum of the magnitudes of the products of a dot product.
private func productSize(_ a: ArraySlice<Double>, _ b: ArraySlice<Double>) -> Double {
  zip(a, b).reduce(0) { $0 + abs($1.0 * $1.1) }
}

extension ArraySlice<Double> {
  fileprivate var magnitudes: ArraySlice<Double> { map(abs)[...] }
}
