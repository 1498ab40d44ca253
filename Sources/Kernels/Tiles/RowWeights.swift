import AttentionTypes

/// Makes scores of a row weights `2^(score − rowMax)`, and brings its state to the new maximum.
///
/// - Parameters:
///   - scores: those to be taken in, in base 2.
///   - keys: which of them, whole panels of ``TileSizes/panelWidth``.
///   - scale: what scores still lack, above 0; nil for nothing.
///   - weights: where weights go as factors, which may be where the scores are.
///   - rowMax: the largest score so far, rounded up to an integer.
///   - rowSum: the sum of the weights so far.
/// - Returns: what outputs so far are to be multiplied by; nil if nothing.
@unsafe @inline(__always)
func weigh<Element: Factor>(
  _ scores: UnsafeMutablePointer<Float>, _ keys: Range<Int>, scale: Float? = nil,
  into weights: UnsafeMutablePointer<Element>, rowMax: inout Float, rowSum: inout Float
) -> Vector? {
  let factor = unsafe raiseMaximum(
    scores, keys, scale: scale, rowMax: &rowMax, rowSum: &rowSum)
  unsafe addWeights(
    scores, keys, scale: scale, into: weights, rowMax: rowMax, rowSum: &rowSum)
  return factor
}

/// The first half of ``weigh(_:_:into:rowMax:rowSum:)``: the maximum of a row, which has to be
/// waited for, so that several rows are best done before their weights.
@unsafe @inline(__always)
func raiseMaximum(
  _ scores: UnsafeMutablePointer<Float>, _ keys: Range<Int>, scale: Float? = nil,
  rowMax: inout Float, rowSum: inout Float
) -> Vector? {
  var left = unsafe Vector(loading: scores, at: keys.lowerBound)
  var right = unsafe Vector(loading: scores, at: keys.lowerBound + Vector.width)
  var key = keys.lowerBound + TileSizes.panelWidth
  while key < keys.upperBound {
    unsafe left = left.larger(Vector(loading: scores, at: key))
    unsafe right = right.larger(Vector(loading: scores, at: key + Vector.width))
    key += TileSizes.panelWidth
  }
  // Rounded up, so that all factors between states are powers of two: exact.
  let largest = left.larger(right).largestLane
  let newMax = max(rowMax, (scale.map { largest * $0 } ?? largest).rounded(.up))
  guard newMax > rowMax else { return nil }
  // 0 where the row had seen nothing.
  let factor = exp2(Vector(repeating: rowMax - newMax))
  rowSum *= factor[0]
  rowMax = newMax
  return factor
}

/// The second half: weights, and their sum.
@unsafe @inline(__always)
func addWeights<Element: Factor>(
  _ scores: UnsafeMutablePointer<Float>, _ keys: Range<Int>, scale: Float? = nil,
  into weights: UnsafeMutablePointer<Element>, rowMax: Float, rowSum: inout Float
) {
  // A row that has seen nothing keeps −∞ as its maximum; 0 stands in for it here, because
  // (−∞) − (−∞) is NaN while 2^(−∞ − 0) is the 0 that is meant.
  let shift = Vector(repeating: rowMax == -.infinity ? 0 : rowMax)
  /// Of a vector of scores and the maximum.
  @inline(__always)
  func difference(_ key: Int) -> Vector {
    let scores = unsafe Vector(loading: scores, at: key)
    guard let scale else { return scores - shift }
    return (-shift).addingProduct(scores, Vector(repeating: scale))
  }
  var left = Vector()
  var right = Vector()
  var key = keys.lowerBound
  while key < keys.upperBound {
    let first = exp2(difference(key))
    let second = exp2(difference(key + Vector.width))
    unsafe Element.store((first, second), to: weights + key / Element.depth)
    // Keys 16 apart are added up together, whatever the width of a vector: the same bits.
    left += first
    if Vector.width < 16 { right += second } else { left += second }
    key += TileSizes.panelWidth
  }
  rowSum += (Vector.width < 16 ? left + right : left).laneSum
}
