import Glibc

/// An attention free transformer's mean of values in one channel: each token with each that it
/// sees.
///
/// - Parameters:
///   - q: `[tokens]`, whose logistic function multiplies the mean; empty for none.
///   - k: `[tokens]`.
///   - v: `[tokens]`.
///   - bias: what is added to the key of a query, by both positions.
/// - Returns: `[tokens]`.
/// - Complexity: O(tokens²).
public func referenceAFT(
  q: [Double], k: [Double], v: [Double], isCausal: Bool, bias: (_ query: Int, _ key: Int) -> Double
) -> [Double] {
  k.indices.map { query in
    let seen = 0..<(isCausal ? query + 1 : k.count)
    let scores = seen.map { k[$0] + bias(query, $0) }
    guard let top = scores.max(), top > -.infinity else { return 0 }
    var (sum, weights) = (0.0, 0.0)
    for (key, score) in zip(seen, scores) {
      weights += exp(score - top)
      sum += exp(score - top) * v[key]
    }
    return sum / weights / (q.isEmpty ? 1 : 1 + exp(-q[query]))
  }
}
