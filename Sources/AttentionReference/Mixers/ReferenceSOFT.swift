import Glibc

/// SOFT of one head: Gaussian kernels between tokens and landmarks, and Newton's iterates of the
/// inverse of that between landmarks.
///
/// - Parameters:
///   - q: `[tokens, headDim]`, keys too.
///   - v: `[tokens, valueHeadDim]`.
///   - landmarks: means of as many runs of tokens.
///   - steps: of Newton.
///   - isNormalized: whether the inverse is divided by the roots of the kernel's row sums.
/// - Returns: `[tokens, valueHeadDim]`.
/// - Complexity: O(tokens · landmarks · headDim + steps · landmarks³).
public func referenceSOFT(
  q: [Double], v: [Double], headDim d: Int, landmarks m: Int, steps: Int, isNormalized: Bool
) -> [Double] {
  let tokens = q.count / d
  if tokens == 0 { return [] }
  let c = v.count / tokens
  let rows = (0..<tokens).map { Array(q[$0 * d..<($0 + 1) * d]) }
  let middles: [[Double]] = (0..<m).map { landmark in
    let own = rows.indices.filter { $0 * m / tokens == landmark }
    return (0..<d).map { column in
      own.reduce(0) { $0 + rows[$1][column] } / Double(own.count)
    }
  }
  func kernel(_ a: [Double], _ b: [Double]) -> Double {
    var distance = 0.0
    for column in 0..<d { distance += (a[column] - b[column]) * (a[column] - b[column]) }
    return exp(-distance / (2 * Double(d).squareRoot()))
  }
  func times(_ a: [[Double]], _ b: [[Double]]) -> [[Double]] {
    a.map { row in
      b[0].indices.map { column in row.indices.reduce(0) { $0 + row[$1] * b[$1][column] } }
    }
  }
  let a = middles.map { one in middles.map { kernel(one, $0) } }
  let sums = a.map { $0.reduce(0, +) }
  let top = sums.max() ?? 1
  let shifted = a.indices.map { row in
    a.indices.map { a[row][$0] + (row == $0 ? 0.01 : 0) }
  }
  var inverse = shifted.map { $0.map { 1.8 / (top * top) * $0 } }
  for _ in 0..<steps {
    let product = times(inverse, times(shifted, inverse))
    for row in a.indices {
      for column in a.indices {
        inverse[row][column] = 2 * inverse[row][column] - product[row][column]
      }
    }
  }
  if isNormalized {
    for row in a.indices {
      for column in a.indices {
        inverse[row][column] /= (sums[row] * sums[column]).squareRoot()
      }
    }
  }
  let near = rows.map { row in middles.map { kernel(row, $0) } }
  let read: [[Double]] = (0..<m).map { landmark in
    (0..<c).map { column in
      (0..<tokens).reduce(0) { $0 + near[$1][landmark] * v[$1 * c + column] }
    }
  }
  return times(near, times(inverse, read)).flatMap { $0 }
}
