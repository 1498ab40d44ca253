/// ReLU attention of one head: each query with each key that it sees.
///
/// - Parameters:
///   - q: `[tokens, headDim]`.
///   - k: `[tokens, headDim]`.
///   - v: `[tokens, valueHeadDim]`.
///   - gamma: what weights are divided by besides.
///   - countsVisible: whether weights are divided by `√(n / 2)` of the n keys that a query sees,
///   and
///     not by the tokens.
/// - Returns: `[tokens, valueHeadDim]`.
/// - Complexity: O(tokens² · (headDim + valueHeadDim)).
public func referenceReLU(
  q: [Double], k: [Double], v: [Double], gamma: Double, headDim d: Int, scale: Double,
  isCausal: Bool, countsVisible: Bool
) -> [Double] {
  let tokens = q.count / d
  if tokens == 0 { return [] }
  let columns = v.count / tokens
  var o = [Double](repeating: 0, count: tokens * columns)
  for query in 0..<tokens {
    let visible = isCausal ? query + 1 : tokens
    let divisor = countsVisible ? (Double(visible) / 2).squareRoot() : Double(tokens)
    for key in 0..<visible {
      var score = 0.0
      for column in 0..<d { score += q[query * d + column] * k[key * d + column] }
      let weight = max(0, scale * score) / (divisor * gamma)
      if weight == 0 { continue }
      for column in 0..<columns {
        o[query * columns + column] += weight * v[key * columns + column]
      }
    }
  }
  return o
}
