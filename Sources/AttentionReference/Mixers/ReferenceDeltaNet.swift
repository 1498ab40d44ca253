/// The delta rule of one head, a token at a time: what a key reads from the state is replaced by its
/// value, as far as `beta` says.
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
    var output = [Double](repeating: 0, count: c)
    for column in 0..<c {
      let read = (0..<d).reduce(0) { $0 + k[token * d + $1] * s[$1 * c + column] }
      let change = beta[token] * (v[token * c + column] - read)
      for row in 0..<d {
        s[row * c + column] += k[token * d + row] * change
        output[column] += scale * q[token * d + row] * s[row * c + column]
      }
    }
    o += output
  }
  return (o, s)
}
