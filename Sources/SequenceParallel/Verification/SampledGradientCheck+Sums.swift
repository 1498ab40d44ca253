import Attention
import AttentionReference
import Glibc
import Sharding
import Tensors

/// The sums of the chain rule through the softmax: with `p_ij = exp(s_ij − lse_i)` and
/// `Δ_i = do_i·o_i`, `dv_j = Σ_i p_ij do_i`, and of `ds_ij = scale · p_ij (do_i·v_j − Δ_i) f′_ij`,
/// `dq_i = Σ_j ds_ij k_j` and `dk_j = Σ_i ds_ij q_i`.
extension SampledGradientCheck {
  /// The gradients of sampled queries over this rank's keys, `[positions][queryHeads][headDim]`, and
  /// the sums of the magnitudes of what they are the sums of.
  ///
  /// - Parameters:
  ///   - queries: `[positions][queryHeads · headDim]`.
  ///   - rowGradients: `do`, `[positions][queryHeads · valueHeadDim]`.
  ///   - rows: the exact rows over all keys, `[positions][queryHeads]`.
  func ownPartOfQueryGradients(
    _ queries: [[Double]], _ rowGradients: [[Double]], _ rows: [ReferenceRow.Result], batch: Int,
    positions: [Int], k: some TokenRows, v: some TokenRows, rank: Int
  ) throws -> (dq: [Double], sizes: [Double]) {
    let (shape, scale) = (attention.shape, attention.scale)
    let rounding = attention.inputRounding
    var dq = [Double](repeating: 0, count: rows.count * shape.headDim)
    var sizes = dq
    let pieces = attention.keys.pieces(of: rank, rowLength: max(k.rowLength, v.rowLength))
    for (tokens, _) in pieces {
      let keys = rounding.keys(
        try k.rows(batch: batch, tokens: tokens), columns: shape.headDim)
      let values = rounding.keys(
        try v.rows(batch: batch, tokens: tokens), columns: shape.valueHeadDim)
      for (index, row) in rows.enumerated() {
        let (sample, head) = index.quotientAndRemainder(dividingBy: shape.queryHeads)
        let query = queries[sample].vector(head, count: shape.headDim)
        let rowGradient = rowGradients[sample].vector(head, count: shape.valueHeadDim)
        let delta = dot(rowGradient, row.output[...])
        for (token, position) in tokens.enumerated() {
          let added = bias(positions[sample], position, head)
          if added == -.infinity { continue }
          let kvRow = token * shape.kvHeads + head * shape.kvHeads / shape.queryHeads
          let key = keys.vector(kvRow, count: shape.headDim)
          let value = values.vector(kvRow, count: shape.valueHeadDim)
          let (score, slope) = changed(
            scale * dot(query, key), batch, positions[sample], position, head)
          let weight = exp(score + added - row.logSumExp)
          let scoreGradient = scale * slope * weight * (dot(rowGradient, value) - delta)
          dq.add(scoreGradient, times: key, to: index)
          if rounding.factorError == 0 { continue }
          let size = productSize(rowGradient, value) + productSize(rowGradient, row.output[...])
          sizes.add(
            scale * abs(slope) * weight * size, times: key.magnitudes, to: index)
        }
      }
    }
    return (dq, sizes)
  }

  /// What is found out about sampled keys.
  struct KeyGradients {
    var dk: [Double]
    var dv: [Double]
    /// The sums of the magnitudes of what they are the sums of.
    var sizes: (dk: [Double], dv: [Double])
    let largestScore: Double
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
    let (shape, scale) = (attention.shape, attention.scale)
    let rounding = attention.inputRounding
    let ownTokens = attention.queries.tokenCount(of: rank)
    var dk = [Double](repeating: 0, count: positions.count * shape.kvHeads * shape.headDim)
    var dv = [Double](repeating: 0, count: positions.count * shape.kvHeads * shape.valueHeadDim)
    var sizes = (dk: dk, dv: dv)
    var largestScore = 0.0
    let pieces = attention.queries.pieces(
      of: rank, rowLength: max(q.rowLength, outputGradient.rowLength))
    for (tokens, localIndex) in pieces {
      let queries = rounding.rows(try q.rows(batch: batch, tokens: tokens).map(Double.init))
      let rowGradients = rounding.rows(
        try outputGradient.rows(batch: batch, tokens: tokens).map(Double.init))
      for (token, position) in tokens.enumerated() {
        for head in 0..<shape.queryHeads {
          let kvHead = head * shape.kvHeads / shape.queryHeads
          let query = queries.vector(token * shape.queryHeads + head, count: shape.headDim)
          let rowGradient = rowGradients.vector(
            token * shape.queryHeads + head, count: shape.valueHeadDim)
          let own = localIndex + token
          let outputRow = (batch * ownTokens + own) * shape.queryHeads + head
          let row = (0..<shape.valueHeadDim).map {
            Double(output.o.span[outputRow * shape.valueHeadDim + $0])
          }
          let delta = dot(rowGradient, row[...])
          let lse = Double(output.lse.span[(batch * shape.queryHeads + head) * ownTokens + own])
          for sample in positions.indices {
            let added = bias(position, positions[sample], head)
            if added == -.infinity { continue }
            let key = keys[sample].vector(kvHead, count: shape.headDim)
            let value = values[sample].vector(kvHead, count: shape.valueHeadDim)
            let (plain, slope) = changed(
              scale * dot(query, key), batch, position, positions[sample], head)
            let score = plain + added
            largestScore = max(largestScore, abs(score))
            let weight = exp(score - lse)
            let scoreGradient =
              scale * slope * weight * (dot(rowGradient, value) - delta)
            dk.add(scoreGradient, times: query, to: sample * shape.kvHeads + kvHead)
            dv.add(weight, times: rowGradient, to: sample * shape.kvHeads + kvHead)
            if rounding.factorError == 0 { continue }
            let size = productSize(rowGradient, value) + productSize(rowGradient, row[...])
            sizes.dk.add(
              scale * abs(slope) * weight * size, times: query.magnitudes,
              to: sample * shape.kvHeads + kvHead)
            sizes.dv.add(
              weight, times: rowGradient.magnitudes, to: sample * shape.kvHeads + kvHead)
          }
        }
      }
    }
    return KeyGradients(dk: dk, dv: dv, sizes: sizes, largestScore: largestScore)
  }

  /// A scaled score after the rule, and the derivative.
  private func changed(
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
