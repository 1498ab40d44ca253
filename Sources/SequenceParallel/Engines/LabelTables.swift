public import Attention
public import Tensors

/// What ETC's labels add to scores, `scale · (q_i · a_l + c_l)`, and the gradients of a and c.
///
/// Every rank has both tables. It finds the terms of the queries and heads that it computes, and
/// after the backward pass the gradients of its own queries' terms, with what other ranks have
/// found out about them, if queries travel or ranks share heads (``LabelExtent``). Beside that
/// nothing travels but the sums of the tables' gradients.
///
/// Source: Ainslie et al. 2020, ETC, section 3.2.1.
public struct LabelTables: Sendable {
  /// a, `[2, queryHeads, labels, headDim]`: of long queries, and of global ones.
  public let keys: [Float]
  /// c, `[2, queryHeads, labels]`.
  public let biases: [Float]
  /// Query heads.
  public let heads: Int
  /// Labels that the tables have, of which the last may not be used.
  public let labels: Int
  /// Columns of a.
  public let headDim: Int

  /// Takes both tables.
  public init(keys: [Float], biases: [Float], heads: Int, labels: Int, headDim: Int) {
    precondition(biases.count == 2 * heads * labels && keys.count == biases.count * headDim)
    self.keys = keys
    self.biases = biases
    self.heads = heads
    self.labels = labels
    self.headDim = headDim
  }

  /// The bytes of both.
  public var byteCount: Int { 4 * (keys.count + biases.count) }

  /// The first row of a kind of queries and a head.
  private func firstRow(isGlobal: Bool, head: Int) -> Int {
    ((isGlobal ? heads : 0) + head) * labels
  }

  /// Finds the terms of the queries of a part.
  ///
  /// - Parameters:
  ///   - q: `[batch, tokens, queryHeads, headDim]`, read where the part's queries are.
  ///   - scale: multiplies scores.
  /// - Throws: what the source throws.
  /// - Complexity: labels · headDim multiply–adds a query and head.
  public func fill(
    _ part: LabelPart, q: some TokenRows, scale: Double, team: ThreadTeam
  ) throws {
    for batch in 0..<q.shape[0] {
      var row = 0
      for run in part.queries {
        // Some tokens at a time, each by one thread.
        let pieces = stride(from: 0, to: run.count, by: 64).map { $0..<min($0 + 64, run.count) }
        let first = row
        _ = try team.map(pieces.count) { piece in
          let tokens = run.slice(pieces[piece])
          var numbers = [Float](repeating: 0, count: tokens.count * q.rowLength)
          var span = numbers.mutableSpan
          try q.read(batch: batch, tokens: tokens, into: &span)
          for (index, query) in tokens.enumerated() {
            for head in part.heads {
              let start = (index * heads + head) * headDim
              fill(
                part, batch, head, row: first + pieces[piece].lowerBound + index, query,
                numbers[start..<start + headDim], scale)
            }
          }
          return 0
        }
        row += run.count
      }
    }
  }

  private func fill(
    _ part: LabelPart, _ batch: Int, _ head: Int, row: Int, _ query: Int,
    _ vector: ArraySlice<Float>, _ scale: Double
  ) {
    let first = firstRow(isGlobal: part.isGlobal(query), head: head)
    part.fill(batch: batch, head: head, row: row) { terms in
      for label in 0..<part.labels.count {
        var sum = Double(biases[first + label])
        let start = (first + label) * headDim
        for (column, number) in vector.enumerated() {
          sum += Double(number) * Double(keys[start + column])
        }
        terms[label] = Float(scale * sum)
      }
    }
  }

  /// What a rank's queries add to the gradients, to be given to ``gradients(merging:)``, and to the
  /// gradients of the queries themselves.
  ///
  /// - Parameters:
  ///   - part: after the backward pass.
  ///   - queries: the same queries.
  ///   - dq: of their shape, to which theirs are added.
  /// - Throws: nothing of its own.
  public func addGradients(
    of part: LabelPart, queries: borrowing QueryShard, scale: Double, to dq: inout Tensor<Float>,
    team: ThreadTeam
  ) throws -> [Int64] {
    let (batch, tokens) = (dq.shape[0], dq.shape[1])
    var leaves: [(sequence: Int, row: Int, tokens: PositionRange)] = []
    for sequence in 0..<batch {
      var row = 0
      for run in queries.runs {
        for start in stride(from: 0, to: run.count, by: Accumulation.reproducible.granularity) {
          let end = min(start + Accumulation.reproducible.granularity, run.count)
          leaves.append((sequence, row + start, run.slice(start..<end)))
        }
        row += run.count
      }
    }
    let sums = VectorSums(count: biases.count + keys.count)
    var ofQueries = dq.mutableSpan
    for leaf in leaves {
      let first = (leaf.sequence * tokens + leaf.row) * heads * headDim
      let rows = (0..<leaf.tokens.count * heads * headDim).map {
        queries.tensor.span[first + $0]
      }
      // Each head is a unit.
      let found = try team.map(heads) { head in
        gradients(of: part, leaf.sequence, head, firstRow: leaf.row, leaf.tokens, rows, scale)
      }
      var terms = [Float](repeating: 0, count: sums.count)
      for (head, found) in found.enumerated() {
        for kind in 0..<2 {
          let row = firstRow(isGlobal: kind == 1, head: head)
          for label in 0..<labels {
            let own = kind * labels + label
            terms[row + label] = Float(found.biases[own])
            for column in 0..<headDim {
              terms[biases.count + (row + label) * headDim + column] = Float(
                found.keys[own * headDim + column])
            }
          }
        }
        for token in 0..<leaf.tokens.count {
          for column in 0..<headDim {
            ofQueries[first + (token * heads + head) * headDim + column] += Float(
              found.dq[token * headDim + column])
          }
        }
      }
      sums.add(terms)
    }
    return sums.words
  }

  /// Those of one head and leaf: `[2, labels]`, `[2, labels, headDim]` and `[tokens, headDim]`.
  private func gradients(
    of part: LabelPart, _ batch: Int, _ head: Int, firstRow row: Int, _ tokens: PositionRange,
    _ rows: [Float], _ scale: Double
  ) -> (biases: [Double], keys: [Double], dq: [Double]) {
    var ofBiases = [Double](repeating: 0, count: 2 * labels)
    var ofKeys = [Double](repeating: 0, count: 2 * labels * headDim)
    var dq = [Double](repeating: 0, count: tokens.count * headDim)
    for (index, query) in tokens.enumerated() {
      let isGlobal = part.isGlobal(query)
      let first = firstRow(isGlobal: isGlobal, head: head)
      let sums = part.gradientSums(batch: batch, head: head, row: row + index, query: query)
      for (label, sum) in sums.enumerated() where sum != 0 {
        let (own, gradient) = ((isGlobal ? labels : 0) + label, scale * sum)
        ofBiases[own] += gradient
        for column in 0..<headDim {
          let number = Double(rows[(index * heads + head) * headDim + column])
          ofKeys[own * headDim + column] += gradient * number
          dq[index * headDim + column] +=
            gradient * Double(keys[(first + label) * headDim + column])
        }
      }
    }
    return (ofBiases, ofKeys, dq)
  }

  /// The gradients of both tables, in their shapes.
  ///
  /// - Parameter parts: what ``addGradients(of:queries:scale:to:team:)`` gave on each rank.
  public func gradients(merging parts: [[Int64]]) -> (keys: [Float], biases: [Float]) {
    let count = biases.count + keys.count
    let sums = VectorSums(count: count)
    for part in parts { sums.add(VectorSums(count: count, words: part)) }
    let values = sums.values
    return (Array(values[biases.count...]), Array(values[..<biases.count]))
  }
}
