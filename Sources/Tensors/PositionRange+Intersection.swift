extension PositionRange {
  /// Where two runs hold the same positions, as local indices of either.
  ///
  /// The `n`-th index of one and the `n`-th of the other stand for the same position.
  ///
  /// - Returns: nil if they have no position in common.
  /// - Complexity: O(log of the strides).
  public func commonIndices(with other: PositionRange) -> (
    own: PositionRange, other: PositionRange
  )? {
    guard let first, let last, let otherFirst = other.first, let otherLast = other.last else {
      return nil
    }
    let low = Swift.max(first, otherFirst)
    let high = Swift.min(last, otherLast)
    if low > high { return nil }
    // first + i · stride = otherFirst + j · otherStride has solutions i in one class modulo
    // `ownStep`.
    let (divisor, inverse) = Self.greatestDivisor(stride, other.stride)
    let difference = otherFirst - first
    if difference % divisor != 0 { return nil }
    let ownStep = other.stride / divisor
    let otherStep = stride / divisor
    let index = (difference / divisor % ownStep * (inverse % ownStep) % ownStep + ownStep) % ownStep
    let meeting = first + index * stride
    let distance = stride * ownStep
    // The first meeting at or after `low`.
    let start = meeting + Self.ceiling(low - meeting, distance) * distance
    if start > high { return nil }
    let count = (high - start) / distance + 1
    return (
      PositionRange(start: (start - first) / stride, stride: ownStep, count: count),
      PositionRange(start: (start - otherFirst) / other.stride, stride: otherStep, count: count)
    )
  }

  /// The greatest common divisor of two positive numbers, and the `x` of `a · x + b · y = divisor`.
  private static func greatestDivisor(_ a: Int, _ b: Int) -> (divisor: Int, x: Int) {
    var (rest, nextRest) = (a, b)
    var (x, nextX) = (1, 0)
    while nextRest != 0 {
      let quotient = rest / nextRest
      (rest, nextRest) = (nextRest, rest - quotient * nextRest)
      (x, nextX) = (nextX, x - quotient * nextX)
    }
    return (rest, x)
  }

  /// `⌈a / b⌉` for positive `b`.
  private static func ceiling(_ a: Int, _ b: Int) -> Int {
    a > 0 ? (a - 1) / b + 1 : -(-a / b)
  }
}
