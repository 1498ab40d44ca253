import Glibc

/// The best factors of a rank of a matrix, `e` with the singular values and `d` with right singular
/// vectors, whose largest numbers are positive: by the eigenvectors of `wᵀ w`, turned into diagonal
/// form two rows and columns at a time.
///
/// - Parameter w: `[rows, columns]`.
/// - Returns: `[rows, rank]` and `[rank, columns]`.
/// - Complexity: O(sweeps · columns³).
public func referenceFactors(
  _ w: [Double], rows: Int, columns n: Int, rank: Int
) -> (e: [Double], d: [Double]) {
  var a = [Double](repeating: 0, count: n * n)
  for row in 0..<rows {
    for i in 0..<n { for j in 0..<n { a[i * n + j] += w[row * n + i] * w[row * n + j] } }
  }
  var vectors = (0..<n * n).map { $0 % (n + 1) == 0 ? 1.0 : 0 }
  let trace = (0..<n).reduce(0) { $0 + a[$1 * n + $1] }
  for _ in 0..<60 {
    var isDiagonal = true
    for p in 0..<n {
      for q in p + 1..<max(n, p + 1) {
        let (x, y, z) = (a[p * n + p], a[q * n + q], a[p * n + q])
        if abs(z) <= 1e-16 * trace { continue }
        isDiagonal = false
        let angle = 0.5 * atan2(2 * z, y - x)
        let (c, s) = (cos(angle), sin(angle))
        for i in 0..<n {
          let (one, other) = (a[i * n + p], a[i * n + q])
          (a[i * n + p], a[i * n + q]) = (c * one - s * other, s * one + c * other)
        }
        for i in 0..<n {
          let (one, other) = (a[p * n + i], a[q * n + i])
          (a[p * n + i], a[q * n + i]) = (c * one - s * other, s * one + c * other)
          let (v, u) = (vectors[i * n + p], vectors[i * n + q])
          (vectors[i * n + p], vectors[i * n + q]) = (c * v - s * u, s * v + c * u)
        }
      }
    }
    if isDiagonal { break }
  }
  let order = (0..<n).sorted { a[$0 * n + $0] > a[$1 * n + $1] }.prefix(rank)
  var d: [Double] = []
  for column in order {
    let vector = (0..<n).map { vectors[$0 * n + column] }
    let most = vector.max { abs($0) < abs($1) } ?? 1
    d += vector.map { most < 0 ? -$0 : $0 }
  }
  let e = (0..<rows * rank).map { place in
    (0..<n).reduce(0) { $0 + w[place / rank * n + $1] * d[place % rank * n + $1] }
  }
  return (e, d)
}
