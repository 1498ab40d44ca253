import Glibc

/// A channel of RWKV's fourth version, from its definition: all weights of a token, one by one.
///
/// - Parameters:
///   - r: the receptance of each token, or empty for none.
///   - k: of each token.
///   - v: of each token.
///   - w: the exponent by which a token loses weight at each step, negative.
///   - u: the exponent that a token has for itself beside its key.
///   - state: numerator, denominator and exponent that the sequence starts from; empty for none.
/// - Returns: outputs, and the state after the last token.
/// - Complexity: O(tokens²), or O(tokens) by the recurrence where there are over 1,024.
public func referenceRWKV4(
  r: [Double], k: [Double], v: [Double], w: Double, u: Double, state: [Double]
) -> (o: [Double], state: [Double]) {
  let first = state.isEmpty ? [0, 0, -1e38] : state
  let tokens = k.count
  if tokens > 1024 { return byRecurrence(r, k, v, w, u, first) }
  /// The terms that token t meets, the first state's first: exponent, value, weight.
  func terms(_ t: Int) -> [(Double, Double, Double)] {
    [(first[2] + Double(t) * w, first[0], first[1])]
      + (0..<t).map { (k[$0] + Double(t - 1 - $0) * w, v[$0], 1) }
  }
  func sums(_ terms: [(Double, Double, Double)]) -> (Double, Double, Double) {
    let top = terms.map(\.0).max() ?? 0
    return (
      terms.reduce(0) { $0 + exp($1.0 - top) * $1.1 },
      terms.reduce(0) { $0 + exp($1.0 - top) * $1.2 }, top
    )
  }
  let o = (0..<tokens).map { t in
    let (p, q, _) = sums(terms(t) + [(u + k[t], v[t], 1)])
    return p / q * (r.isEmpty ? 1 : 1 / (1 + exp(-r[t])))
  }
  let last = sums(terms(tokens))
  return (o, [last.0, last.1, last.2])
}

private func byRecurrence(
  _ r: [Double], _ k: [Double], _ v: [Double], _ w: Double, _ u: Double, _ state: [Double]
) -> (o: [Double], state: [Double]) {
  var (p, q, e) = (state[0], state[1], state[2])
  var o: [Double] = []
  for t in k.indices {
    let top = max(e, u + k[t])
    let (a, b) = (exp(e - top), exp(u + k[t] - top))
    o.append((a * p + b * v[t]) / (a * q + b) * (r.isEmpty ? 1 : 1 / (1 + exp(-r[t]))))
    let next = max(e + w, k[t])
    let (c, d) = (exp(e + w - next), exp(k[t] - next))
    (p, q, e) = (c * p + d * v[t], c * q + d, next)
  }
  return (o, [p, q, e])
}
