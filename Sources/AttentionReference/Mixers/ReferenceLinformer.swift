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
  func project(_ x: [Double], _ weights: [Double], _ width: Int) -> [[Double]] {
    (0..<rank).map { r in
      (0..<width).map { column in
        (0..<tokens).reduce(0) { $0 + weights[$1 * rank + r] * x[$1 * width + column] }
      }
    }
  }
  let (keys, values) = (project(k, e, d), project(v, f, columns))
  var o: [Double] = []
  var lse: [Double] = []
  for token in 0..<tokens {
    let scores = keys.map { key in
      scale * (0..<d).reduce(0) { $0 + q[token * d + $1] * key[$1] }
    }
    let top = scores.max() ?? 0
    let sum = scores.reduce(0) { $0 + exp($1 - top) }
    lse.append(top + log(sum))
    for column in 0..<columns {
      o.append((0..<rank).reduce(0) { $0 + exp(scores[$1] - top) / sum * values[$1][column] })
    }
  }
  return (o, lse)
}
