/// How the rows of a layer's input are brought to one size.
public enum Normalisation: Hashable, Sendable {
  /// `x / √(mean x² + ε)`.
  ///
  /// Source: Zhang and Sennrich 2019, Root Mean Square Layer Normalization.
  case rootMeanSquare(epsilon: Float)
  /// `(x − mean x) / √(variance x + ε)`.
  ///
  /// Source: Ba et al. 2016, Layer Normalization.
  case layer(epsilon: Float)

  /// Normalises rows and multiplies them by weights, on all threads.
  ///
  /// Sums are in `Float`, eight at a time.
  ///
  /// - Parameters:
  ///   - rows: `[rows, weights.count]`.
  ///   - weights: one for each column.
  ///   - bias: is added then; empty where there is none.
  ///   - target: as many numbers as `rows`.
  /// - Complexity: O(`rows.count`), at the speed of memory.
  public func apply(
    _ rows: borrowing Span<Float>, weights: borrowing Span<Float>, bias: borrowing Span<Float>,
    into target: inout MutableSpan<Float>, team: ThreadTeam
  ) {
    let width = weights.count
    precondition(rows.count == target.count && rows.count % width == 0, "rows of another width")
    precondition(bias.isEmpty || bias.count == width, "a bias of another width")
    unsafe rows.withUnsafeBufferPointer { rows in
      unsafe target.withUnsafeMutableBufferPointer { target in
        unsafe weights.withUnsafeBufferPointer { weights in
          unsafe bias.withUnsafeBufferPointer { bias in
            guard let from = rows.baseAddress, let to = target.baseAddress,
              let scales = weights.baseAddress
            else { return }
            nonisolated(unsafe) let (source, result) = unsafe (from, to)
            nonisolated(unsafe) let (factors, addends) = unsafe (
              scales, bias.isEmpty ? nil : bias.baseAddress
            )
            team.forEachPart(of: rows.count / width, cost: 2 * width) { part in
              for row in part {
                unsafe normalise(
                  source + row * width, width, factors, addends, to: result + row * width)
              }
            }
          }
        }
      }
    }
  }

  /// Normalises rows where they lie, one after the other, and multiplies them by weights: heads of
  /// queries and keys.
  ///
  /// - Parameter rows: `[rows, weights.count]`.
  public func apply(inPlace rows: inout MutableSpan<Float>, weights: borrowing Span<Float>) {
    let width = weights.count
    precondition(rows.count % width == 0, "rows of another width")
    unsafe rows.withUnsafeMutableBufferPointer { rows in
      unsafe weights.withUnsafeBufferPointer { weights in
        guard let base = rows.baseAddress, let factors = weights.baseAddress else { return }
        for row in 0..<rows.count / width {
          let start = unsafe base + row * width
          unsafe normalise(UnsafePointer(start), width, factors, nil, to: start)
        }
      }
    }
  }

  @unsafe
  private func normalise(
    _ row: UnsafePointer<Float>, _ width: Int, _ weights: UnsafePointer<Float>,
    _ bias: UnsafePointer<Float>?, to target: UnsafeMutablePointer<Float>
  ) {
    var mean: Float = 0
    let epsilon: Float
    switch self {
    case .rootMeanSquare(let value): epsilon = value
    case .layer(let value):
      epsilon = value
      unsafe mean = sum(row, width) { $0 } / Float(width)
    }
    let center = mean
    let square = unsafe sum(row, width) {
      ($0 - Vector(repeating: center)) * ($0 - Vector(repeating: center))
    }
    // What is past the last whole vector is added by the sums as zeros, which are not the mean.
    let excess = Float((8 - width % 8) % 8) * center * center
    let scale = 1 / ((square - excess) / Float(width) + epsilon).squareRoot()
    var column = 0
    let (factor, offset) = (Vector(repeating: scale), Vector(repeating: center))
    while column + 8 <= width {
      var x = unsafe (Vector(loading: row, at: column) - offset) * factor
      unsafe x *= Vector(loading: weights, at: column)
      if let bias = unsafe bias { unsafe x += Vector(loading: bias, at: column) }
      unsafe x.store(to: target, at: column)
      column += 8
    }
    while column < width {
      unsafe target[column] =
        (row[column] - center) * scale * weights[column] + (bias.map { unsafe $0[column] } ?? 0)
      column += 1
    }
  }

  /// The sum of `body` of the numbers of a row, eight chains of them.
  @unsafe @inline(__always)
  private func sum(
    _ row: UnsafePointer<Float>, _ width: Int, _ body: (Vector) -> Vector
  ) -> Float {
    var sum = Vector()
    var column = 0
    while column + 8 <= width {
      unsafe sum += body(Vector(loading: row, at: column))
      column += 8
    }
    if column < width {
      var rest = Vector()
      for index in column..<width { unsafe rest[index - column] = row[index] }
      sum += body(rest)
    }
    return sum.laneSum
  }
}
