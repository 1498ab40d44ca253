public import Attention
import AttentionReference
import Glibc
public import MPI
import Sharding
import Tensors

/// The gradients of ETC's tables, of a score `s + scale · (q_i · a_l + c_l)`: with
/// `ds_ij = scale · p_ij (do_i·v_j − Δ_i)`, `dc_l = Σ ds_ij` and `da_l = Σ ds_ij q_i` over all
/// pairs that have the label l.
extension SampledGradientCheck {
  /// Compares rows of both tables, called by all ranks together: those of long queries of the first
  /// and the last head, for some labels of one distance, and for both labels of global keys.
  ///
  /// - Parameters:
  ///   - gradients: of both tables, the same on all ranks.
  ///   - labels: their twin, which is the last of the score rules.
  ///   - output: this rank's result of the forward pass.
  /// - Returns: the largest difference, relative to `1 + max|oracle|` over the sampled rows.
  /// - Throws: what a source throws, on every rank; `MPIError` where MPI fails.
  /// - Complexity: O(tokens · (distances + global tokens) / P) in `Double`.
  public func labelError(
    _ gradients: (keys: [Float], biases: [Float]), _ labels: ReferenceLabels,
    _ output: borrowing AttentionOutput, q: some TokenRows, k: some TokenRows, v: some TokenRows,
    outputGradient: some TokenRows, on world: borrowing Communicator
  ) throws -> Double {
    let rows = labels.sampledRows
    let columns = attention.shape.headDim
    var expected = try world.agree {
      try ownPartOfLabelGradients(
        labels, rows, output, q: q, k: k, v: v, outputGradient: outputGradient, rank: world.rank)
    }
    try world.allReduce(&expected, with: .sum)
    var (ofKeys, ofBiases) = (RelativeError(), RelativeError())
    for index in rows.indices {
      let sums = expected.vector(index, count: columns + 1)
      for value in sums.dropFirst() { ofKeys.expect(value) }
      ofBiases.expect(sums[sums.startIndex])
    }
    for (index, row) in rows.enumerated() {
      let sums = Array(expected.vector(index, count: columns + 1))
      ofBiases.compare(Double(gradients.biases[row]), sums[0].isFinite ? sums[0] : .nan)
      for column in 0..<columns {
        let value = sums[column + 1]
        ofKeys.compare(
          Double(gradients.keys[row * columns + column]), value.isFinite ? value : .nan)
      }
    }
    return max(ofKeys.value, ofBiases.value)
  }

  /// The sums over this rank's queries, `[rows][1 + headDim]`: `dc`, then `da`.
  private func ownPartOfLabelGradients(
    _ labels: ReferenceLabels, _ rows: [Int], _ output: borrowing AttentionOutput,
    q: some TokenRows, k: some TokenRows, v: some TokenRows, outputGradient: some TokenRows,
    rank: Int
  ) throws -> [Double] {
    let shape = attention.shape
    let k: any TokenRows = positions?.keys(k) ?? k
    var sums = [Double](repeating: 0, count: rows.count * (shape.headDim + 1))
    let places = Dictionary(uniqueKeysWithValues: rows.enumerated().map { ($1, $0) })
    let globals = (0..<attention.keys.tokens).filter(labels.isGlobalToken)
    let ownTokens = attention.queries.tokenCount(of: rank)
    let pieces = attention.queries.pieces(
      of: rank, rowLength: max(q.rowLength, k.rowLength, outputGradient.rowLength))
    for batch in 0..<shape.batch {
      let ofGlobals = try meeting(globals, batch: batch, k: k, v: v)
      for (tokens, localIndex) in pieces {
        let rowGradients = attention.inputRounding.rows(
          try outputGradient.rows(batch: batch, tokens: tokens).map(Double.init))
        let queries = QueryPiece(
          batch: batch, tokens: tokens, rows: try q.rows(batch: batch, tokens: tokens),
          turned: try ownQueries(q, batch: batch, tokens: tokens), rowGradients: rowGradients,
          statistics: statistics(
            of: output, rowGradients, batch: batch,
            tokens: localIndex..<localIndex + tokens.count, of: ownTokens))
        for index in tokens.indices where !labels.isGlobalQuery(tokens[index]) {
          for (global, key) in globals.enumerated() {
            add(queries, index, key, ofGlobals, global, labels, places, to: &sums)
          }
        }
        for distance in labels.sampledDistances {
          // The keys so far from each query, where there are such.
          let met = tokens.indices.filter {
            let key = labels.token(of: tokens[$0]) + distance
            return key >= 0 && key < attention.keys.tokens && !labels.isGlobalToken(key)
              && !labels.isGlobalQuery(tokens[$0])
          }
          let keys = met.map { labels.token(of: tokens[$0]) + distance }
          let ofKeys = try meeting(keys, batch: batch, k: k, v: v)
          for (place, index) in met.enumerated() {
            add(queries, index, keys[place], ofKeys, place, labels, places, to: &sums)
          }
        }
      }
    }
    return sums
  }

  /// Some of a rank's queries, with what is known of their rows.
  private struct QueryPiece {
    let batch: Int
    let tokens: PositionRange
    /// `[tokens][queryHeads][headDim]`, as they are in the source.
    let rows: [Float]
    /// The same as keys meet them.
    let turned: SampledQueries
    /// `[tokens][queryHeads][valueHeadDim]`.
    let rowGradients: [Double]
    /// `[tokens][queryHeads]`.
    let statistics: [RowStatistics]
  }

  /// Rows of keys and values, one after the other, as they have travelled.
  private typealias MetRows = (keys: [Double], values: [Double])

  private func meeting(
    _ tokens: [Int], batch: Int, k: some TokenRows, v: some TokenRows
  ) throws -> MetRows {
    var (keys, values) = ([Double](), [Double]())
    for tokens in Self.stretches(of: tokens) {
      keys += attention.inputRounding.keys(
        try k.rows(batch: batch, tokens: tokens), columns: attention.shape.headDim)
      values += attention.inputRounding.keys(
        try v.rows(batch: batch, tokens: tokens), columns: attention.shape.valueHeadDim)
    }
    return (keys, values)
  }

  /// Tokens that ascend, as runs of neighbours.
  private static func stretches(of tokens: [Int]) -> [PositionRange] {
    var runs: [PositionRange] = []
    var start = 0
    for index in tokens.indices
    where index + 1 == tokens.count || tokens[index + 1] != tokens[index] + 1 {
      runs.append(PositionRange(tokens[start]..<tokens[index] + 1))
      start = index + 1
    }
    return runs
  }

  /// Adds what a query does to a key of its sampled heads, if it sees it.
  private func add(
    _ queries: QueryPiece, _ index: Int, _ key: Int, _ met: MetRows, _ place: Int,
    _ labels: ReferenceLabels, _ places: [Int: Int], to sums: inout [Double]
  ) {
    let (shape, query) = (attention.shape, queries.tokens[index])
    for head in labels.sampledHeads {
      guard let sum = places[labels.row(queries.batch, query, key, head)] else { continue }
      let added = bias(queries.batch, query, key, head)
      if added == -.infinity { continue }
      let row = index * shape.queryHeads + head
      let kvRow = place * shape.kvHeads + head * shape.kvHeads / shape.queryHeads
      let vector = queries.rows[row * shape.headDim..<(row + 1) * shape.headDim].map(Double.init)
      let turned = queries.turned.vector(
        0, row, columns: shape.headDim, batch: queries.batch, query: query, meeting: key)
      let product = dot(turned, met.keys.vector(kvRow, count: shape.headDim))
      let score = changed(attention.scale * product, queries.batch, query, key, head).score
      let weight = exp(score + added - queries.statistics[row].lse)
      let value = dot(
        queries.rowGradients.vector(row, count: shape.valueHeadDim),
        met.values.vector(kvRow, count: shape.valueHeadDim))
      let gradient = attention.scale * weight * (value - queries.statistics[row].delta)
      sums.add(gradient, times: ([1] + vector)[...], to: sum)
    }
  }
}

extension ReferenceLabels {
  /// The first head and the last.
  var sampledHeads: [Int] { Array(Set([0, tables.heads - 1])).sorted() }

  /// Distances that have labels of their own, from a query on to a key.
  var sampledDistances: [Int] {
    Array(Set([0, 1, -1, 2 - distance, distance - 1].filter { abs($0) < distance })).sorted()
  }

  /// Rows of the tables, of long queries.
  var sampledRows: [Int] {
    let ofDistances = sampledDistances.map { $0 >= 0 ? $0 : distance - $0 }
    let labels = (ofDistances + [2 * distance + 1, 2 * distance + 2]).filter { $0 < tables.labels }
    return sampledHeads.flatMap { head in labels.map { head * tables.labels + $0 } }
  }

  /// The token among the keys that a query is.
  func token(of query: Int) -> Int { query + offset }

  /// Whether the token of a key is a global one.
  func isGlobalToken(_ key: Int) -> Bool { isGlobal(key) }

  /// Whether that of a query is.
  func isGlobalQuery(_ query: Int) -> Bool { isGlobal(query + offset) }
}
