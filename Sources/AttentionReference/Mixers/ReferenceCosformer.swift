import Glibc

/// cosFormer of one head, from its definition: all weights of a query, one by one.
///
/// - Parameters:
///   - q: `[tokens, headDim]`.
///   - k: `[tokens, headDim]`.
///   - v: `[tokens, valueHeadDim]`.
///   - length: M.
/// - Returns: `[tokens, valueHeadDim]`.
/// - Complexity: O(tokens² · (headDim + valueHeadDim)).
public func referenceCosformer(
  q: [Double], k: [Double], v: [Double], headDim d: Int, length: Double, isCausal: Bool
) -> [Double] {
  let tokens = q.count / d
  if tokens == 0 { return [] }
  let columns = v.count / tokens
  var o = [Double](repeating: 0, count: v.count)
  for i in 0..<tokens {
    var total = 0.0
    for j in 0..<(isCausal ? i + 1 : tokens) {
      var weight = 0.0
      for column in 0..<d { weight += max(q[i * d + column], 0) * max(k[j * d + column], 0) }
      weight *= cos(Double.pi * Double(i - j) / (2 * length))
      total += weight
      for column in 0..<columns { o[i * columns + column] += weight * v[j * columns + column] }
    }
    for column in 0..<columns { o[i * columns + column] /= max(total, 1e-6) }
  }
  return o
}

/// The same by sums over keys, token by token: for sequences that are too long for all pairs.
///
/// - Complexity: O(tokens · headDim · valueHeadDim).
public func referenceCosformerBySums(
  q: [Double], k: [Double], v: [Double], headDim d: Int, length: Double, isCausal: Bool
) -> [Double] {
  let tokens = q.count / d
  if tokens == 0 { return [] }
  let columns = v.count / tokens
  // Of cosines, then of sines: [headDim, columns, and 1 for the weights].
  var sums = [[Double]](
    repeating: [Double](repeating: 0, count: d * (columns + 1)), count: 2)
  func factors(_ token: Int) -> [Double] {
    let angle = Double.pi * Double(token + 1) / (2 * length)
    return [cos(angle), sin(angle)]
  }
  func add(_ token: Int) {
    for (kind, factor) in factors(token).enumerated() {
      for row in 0..<d where k[token * d + row] > 0 {
        let key = k[token * d + row] * factor
        let place = row * (columns + 1)
        for column in 0..<columns {
          sums[kind][place + column] += key * v[token * columns + column]
        }
        sums[kind][place + columns] += key
      }
    }
  }
  if !isCausal { for token in 0..<tokens { add(token) } }
  var o: [Double] = []
  for token in 0..<tokens {
    if isCausal { add(token) }
    var row = [Double](repeating: 0, count: columns + 1)
    for (kind, factor) in factors(token).enumerated() {
      for index in 0..<d where q[token * d + index] > 0 {
        let query = q[token * d + index] * factor
        for column in 0...columns {
          row[column] += query * sums[kind][index * (columns + 1) + column]
        }
      }
    }
    o += row.dropLast().map { $0 / max(row[columns], 1e-6) }
  }
  return o
}
