/// A product with a matrix in two factors, `y = (x E) D + bias`.
///
/// - Parameters:
///   - x: `[tokens, in]`.
///   - e: `[in, rank]`.
///   - d: `[rank, out]`.
///   - bias: `[out]`, or empty.
/// - Returns: `[tokens, out]`.
public func referenceLED(
  x: [Double], e: [Double], d: [Double], bias: [Double], rank: Int, outputs: Int
) -> [Double] {
  let inputs = e.count / rank
  return (0..<x.count / inputs).flatMap { token in
    let hidden = (0..<rank).map { r in
      (0..<inputs).reduce(0) { $0 + x[token * inputs + $1] * e[$1 * rank + r] }
    }
    return (0..<outputs).map { column in
      (0..<rank).reduce(bias.isEmpty ? 0 : bias[column]) {
        $0 + hidden[$1] * d[$1 * outputs + column]
      }
    }
  }
}
