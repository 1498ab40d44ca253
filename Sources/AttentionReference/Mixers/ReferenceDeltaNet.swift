/// The delta rule of one head, a token at a time: what a key reads from the state is replaced by
/// its value, as far as `beta` says.
///
/// - Parameters:
///   - q: `[tokens, headDim]`.
///   - k: `[tokens, headDim]`.
///   - v: `[tokens, valueHeadDim]`.
///   - beta: `[tokens]`.
///   - state: `[headDim, valueHeadDim]`; empty for zeros.
/// - Returns: `[tokens, valueHeadDim]`, and the state after the last token.
/// - Complexity: O(tokens · headDim · valueHeadDim).
public func referenceDeltaNet(
  q: [Double], k: [Double], v: [Double], beta: [Double], state: [Double], headDim d: Int,
  valueHeadDim c: Int, scale: Double
) -> (o: [Double], state: [Double]) {
  var s = state.isEmpty ? [Double](repeating: 0, count: d * c) : state
  var o: [Double] = []
  for token in beta.indices {
    var change = Array(v[token * c..<(token + 1) * c])
    for row in 0..<d {
      let key = k[token * d + row]
      for column in 0..<c { change[column] -= key * s[row * c + column] }
    }
    var output = [Double](repeating: 0, count: c)
    for row in 0..<d {
      let (key, query) = (beta[token] * k[token * d + row], scale * q[token * d + row])
      for column in 0..<c {
        s[row * c + column] += key * change[column]
        output[column] += query * s[row * c + column]
      }
    }
    o += output
  }
  return (o, s)
}
