import Attention
import AttentionReference
import Glibc
import MPI
import Sharding
import Tensors

/// The gradient of a bias tensor, `db_ij = p_ij (do_i·v_j − Δ_i)`, summed over the sequences and
/// heads that share a number.
extension SampledGradientCheck {
  /// Compares some rows of it, called by all ranks together.
  ///
  /// - Parameters:
  ///   - part: what this rank has.
  ///   - shape: of the whole tensor.
  func compareBiasGradients(
    _ part: BiasPart, shape biasShape: Shape, q: some TokenRows, k: some TokenRows,
    v: some TokenRows, outputGradient: some TokenRows, on world: borrowing Communicator
  ) throws -> RelativeError {
    let shape = attention.shape
    let tokens = attention.queries.tokens
    let sampled =
      tokens == 0
      ? []
      : Set([0, tokens / 3, tokens / 2 + 1, tokens - 1])
        .filter { token in
          token < tokens && self.queries?.contains { $0.contains(token) } ?? true
        }.sorted()
    let keyTokens = attention.keys.tokens
    // `[sampled][batch or 1][queryHeads or 1][keyTokens]`.
    let matrices = biasShape[0] * biasShape[1]
    var expected = [Double](repeating: 0, count: sampled.count * matrices * keyTokens)
    for batch in 0..<shape.batch {
      let queries = try SampledQueries(
        of: attention.queries, q, turnedBy: positions, batch: batch, positions: sampled, on: world)
      let gradients = try attention.queries.share(
        outputGradient, batch: batch, positions: sampled, on: world)
      let rows = try forward.exactRows(
        queries, batch: batch, positions: sampled, k: k, v: v, attention.inputRounding, on: world)
      let own = try world.agree {
        try ownScoreGradients(
          queries.map(attention.inputRounding.rows), gradients.map(attention.inputRounding.rows),
          rows.results, batch: batch, positions: sampled, k: k, v: v, rank: world.rank)
      }
      for sample in sampled.indices {
        for head in 0..<shape.queryHeads {
          let matrix =
            (biasShape[0] == 1 ? 0 : batch * biasShape[1]) + (biasShape[1] == 1 ? 0 : head)
          expected.add(
            1, times: own.vector(sample * shape.queryHeads + head, count: keyTokens),
            to: sample * matrices + matrix)
        }
      }
    }
    try world.allReduce(&expected, with: .sum)
    var error = RelativeError()
    for value in expected { error.expect(value) }
    guard part.isWhole else { return error }
    let (ofQueries, ofKeys) = (part.queries.flatMap(Array.init), part.keys.flatMap(Array.init))
    for (sample, position) in sampled.enumerated() {
      guard let row = ofQueries.firstIndex(of: position) else { continue }
      for batch in 0..<part.batch {
        for head in part.heads {
          let actual = part.gradientRow(batch: batch, head: head, row: row)
          let wanted = expected.vector(
            sample * matrices + batch * biasShape[1] + head, count: keyTokens)
          for (column, key) in ofKeys.enumerated() {
            error.compare(Double(actual[column]), wanted[wanted.startIndex + key])
          }
        }
      }
    }
    return error
  }

  /// The gradients of the scores of sampled queries and this rank's keys, zeros for other keys:
  /// `[positions][queryHeads][keyTokens]`.
  private func ownScoreGradients(
    _ queries: SampledQueries, _ rowGradients: [[Double]], _ rows: [ReferenceRow.Result],
    batch: Int, positions: [Int], k: some TokenRows, v: some TokenRows, rank: Int
  ) throws -> [Double] {
    let (shape, rounding) = (attention.shape, attention.inputRounding)
    let keyTokens = attention.keys.tokens
    var gradients = [Double](repeating: 0, count: rows.count * keyTokens)
    for (tokens, _) in attention.keys.pieces(of: rank, rowLength: max(k.rowLength, v.rowLength)) {
      let keys = rounding.keys(try k.rows(batch: batch, tokens: tokens), columns: shape.headDim)
      let values = rounding.keys(
        try v.rows(batch: batch, tokens: tokens), columns: shape.valueHeadDim)
      for (index, row) in rows.enumerated() {
        let (sample, head) = index.quotientAndRemainder(dividingBy: shape.queryHeads)
        let rowGradient = rowGradients[sample].vector(head, count: shape.valueHeadDim)
        let delta = dot(rowGradient, row.output[...])
        for (token, key) in tokens.enumerated() {
          let added = bias(batch, positions[sample], key, head)
          if added == -.infinity { continue }
          let kvRow = token * shape.kvHeads + head * shape.kvHeads / shape.queryHeads
          let query = queries.vector(
            sample, head, columns: shape.headDim, batch: batch, query: positions[sample],
            meeting: key)
          let score = changed(
            attention.scale * dot(query, keys.vector(kvRow, count: shape.headDim)), batch,
            positions[sample], key, head
          ).score
          let weight = exp(score + added - row.logSumExp)
          gradients[index * keyTokens + key] =
            weight * (dot(rowGradient, values.vector(kvRow, count: shape.valueHeadDim)) - delta)
        }
      }
    }
    return gradients
  }
}
