/// SimA of one head: norms of all columns, `k̂ᵀ v`, and its product with each query.
///
/// - Parameters:
///   - q: `[tokens, headDim]`.
///   - k: `[tokens, headDim]`.
///   - v: `[tokens, valueHeadDim]`.
/// - Returns: `[tokens, valueHeadDim]`.
/// - Complexity: O(tokens · headDim · valueHeadDim).
public func referenceSimA(q: [Double], k: [Double], v: [Double], headDim d: Int) -> [Double] {
  let tokens = q.count / d
  if tokens == 0 { return [] }
  let columns = v.count / tokens
  func norms(_ x: [Double]) -> [Double] {
    (0..<d).map { column in
      max((0..<tokens).reduce(0) { $0 + abs(x[$1 * d + column]) }, 1e-12)
    }
  }
  let (ofQueries, ofKeys) = (norms(q), norms(k))
  var memory = [Double](repeating: 0, count: d * columns)
  for token in 0..<tokens {
    for row in 0..<d {
      let key = k[token * d + row] / ofKeys[row]
      for column in 0..<columns {
        memory[row * columns + column] += key * v[token * columns + column]
      }
    }
  }
  return (0..<tokens).flatMap { token in
    (0..<columns).map { column in
      (0..<d).reduce(0) { sum, row in
        sum + q[token * d + row] / ofQueries[row] * memory[row * columns + column]
      }
    }
  }
}
