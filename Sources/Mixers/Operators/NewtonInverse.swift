/// Newton's iterates of the inverse of a kernel between landmarks, in double precision, and their
/// derivative.
///
/// `A' = A + 0.01 I`, `Y₀ = α A'` with `α = 1.8 / (the largest row sum of A)²`, and
/// `Y ← 2 Y − Y A' Y`. The derivative is that of the iterates, not of the inverse that they tend
/// to: a kernel of near landmarks is so nearly singular that twenty steps do not reach it.
struct NewtonInverse {
  /// Rows, and columns.
  let count: Int
  /// `[count, count]`: the last iterate, normalized if that was asked for.
  private(set) var inverse: [Double] = []
  private let kernel: [Double]
  private let shifted: [Double]
  private var iterates: [[Double]] = []
  private let sums: [Double]
  private let isNormalized: Bool

  private static let shift = 0.01

  /// - Complexity: O(steps · count³).
  init(_ kernel: [Double], count: Int, steps: Int, isNormalized: Bool) {
    (self.kernel, self.count, self.isNormalized) = (kernel, count, isNormalized)
    var shifted = kernel
    for row in 0..<count { shifted[row * count + row] += Self.shift }
    self.shifted = shifted
    sums = (0..<count).map { row in (0..<count).reduce(0) { $0 + kernel[row * count + $1] } }
    let top = sums.max() ?? 1
    var y = shifted.map { 1.8 / (top * top) * $0 }
    for _ in 0..<steps {
      iterates.append(y)
      let product = multiplied(y, multiplied(shifted, y))
      y = zip(y, product).map { 2 * $0 - $1 }
    }
    iterates.append(y)
    inverse = isNormalized ? scaled(y) : y
  }

  /// Divided by the roots of the row sums of the kernel, both ways.
  private func scaled(_ y: [Double]) -> [Double] {
    let roots = sums.map { 1 / $0.squareRoot() }
    return y.indices.map { y[$0] * roots[$0 / count] * roots[$0 % count] }
  }

  /// The gradient of the kernel from that of the inverse.
  func gradient(_ gradient: [Double]) -> [Double] {
    var ofKernel = [Double](repeating: 0, count: count * count)
    var g = gradient
    if isNormalized {
      let y = iterates[iterates.count - 1]
      let roots = sums.map { 1 / $0.squareRoot() }
      for row in 0..<count {
        var ofRoot = 0.0
        for other in 0..<count {
          let (here, there) = (row * count + other, other * count + row)
          ofRoot += (g[here] * y[here] + g[there] * y[there]) * roots[other]
        }
        let ofSum = -0.5 * roots[row] / sums[row] * ofRoot
        for other in 0..<count { ofKernel[row * count + other] += ofSum }
      }
      g = scaled(g)
    }
    for y in iterates.dropLast().reversed() {
      let (left, right) = (multiplied(y, shifted), multiplied(shifted, y))
      let inner = multiplied(
        multiplied(y, g, transposing: (true, false)), y, transposing: (false, true))
      let first = multiplied(g, right, transposing: (false, true))
      let second = multiplied(left, g, transposing: (true, false))
      for place in g.indices {
        ofKernel[place] -= inner[place]
        g[place] = 2 * g[place] - first[place] - second[place]
      }
    }
    let top = sums.max() ?? 1
    let alpha = 1.8 / (top * top)
    var ofAlpha = 0.0
    for place in g.indices {
      ofKernel[place] += alpha * g[place]
      ofAlpha += g[place] * shifted[place]
    }
    if let row = sums.firstIndex(of: top) {
      for other in 0..<count { ofKernel[row * count + other] -= 2 * alpha / top * ofAlpha }
    }
    return ofKernel
  }

  /// A product of matrices `[count, count]`, either of them with its rows for columns.
  private func multiplied(
    _ a: [Double], _ b: [Double], transposing: (a: Bool, b: Bool) = (false, false)
  ) -> [Double] {
    let (a, b) = (transposing.a ? turned(a) : a, transposing.b ? turned(b) : b)
    return multipliedRows(a, b, rows: count, depth: count, columns: count)
  }

  private func turned(_ a: [Double]) -> [Double] {
    a.indices.map { a[$0 % count * count + $0 / count] }
  }
}

/// `A · B` in double precision.
///
/// - Parameters:
///   - a: `[rows, depth]`.
///   - b: `[depth, columns]`.
func multipliedRows(
  _ a: [Double], _ b: [Double], rows: Int, depth: Int, columns: Int
) -> [Double] {
  var c = [Double](repeating: 0, count: rows * columns)
  unsafe c.withUnsafeMutableBufferPointer { c in
    unsafe a.withUnsafeBufferPointer { a in
      unsafe b.withUnsafeBufferPointer { b in
        for row in 0..<rows {
          for index in 0..<depth {
            let x = unsafe a[row * depth + index]
            for column in 0..<columns {
              unsafe c[row * columns + column] += x * b[index * columns + column]
            }
          }
        }
      }
    }
  }
  return c
}
