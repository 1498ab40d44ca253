import Glibc

/// Linformer of one head: projected keys and values, then attention over them.
///
/// - Parameters:
///   - q: `[tokens, headDim]`.
///   - k: `[tokens, headDim]`.
///   - v: `[tokens, valueHeadDim]`.
///   - e: `[tokens, rank]`, of keys.
///   - f: `[tokens, rank]`, of values.
/// - Returns: `[tokens, valueHeadDim]`, and the log-sum-exp of each query's scores.
/// - Complexity: O(tokens · rank · (headDim + valueHeadDim)).
public func referenceLinformer(
  q: [Double], k: [Double], v: [Double], e: [Double], f: [Double], headDim d: Int, rank: Int,
  scale: Double
) -> (o: [Double], lse: [Double]) {
  let tokens = q.count / d
  if tokens == 0 { return ([], []) }
  let columns = v.count / tokens
  func project(_ x: [Double], _ weights: [Double], _ width: Int) -> [Double] {
    var sums = [Double](repeating: 0, count: rank * width)
    for token in 0..<tokens {
      for r in 0..<rank {
        let weight = weights[token * rank + r]
        for column in 0..<width { sums[r * width + column] += weight * x[token * width + column] }
      }
    }
    return sums
  }
  let (keys, values) = (project(k, e, d), project(v, f, columns))
  var o = [Double](repeating: 0, count: v.count)
  var lse = [Double](repeating: 0, count: tokens)
  var scores = [Double](repeating: 0, count: rank)
  for token in 0..<tokens {
    for r in 0..<rank {
      var product = 0.0
      for column in 0..<d { product += q[token * d + column] * keys[r * d + column] }
      scores[r] = scale * product
    }
    let top = scores.max() ?? 0
    var sum = 0.0
    for score in scores { sum += exp(score - top) }
    lse[token] = top + log(sum)
    for r in 0..<rank {
      let weight = exp(scores[r] - top) / sum
      for column in 0..<columns {
        o[token * columns + column] += weight * values[r * columns + column]
      }
    }
  }
  return (o, lse)
}
