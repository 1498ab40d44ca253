import AttentionTypes

/// Makes scores of a row weights `2^(score − rowMax)`, and brings its state to the new maximum.
///
/// - Parameters:
///   - scores: those to be taken in, in base 2.
///   - keys: which of them, whole panels of ``TileSizes/panelWidth``.
///   - weights: where weights go as factors, which may be where the scores are.
///   - rowMax: the largest score so far, rounded up to an integer.
///   - rowSum: the sum of the weights so far.
/// - Returns: what outputs so far are to be multiplied by; nil if nothing.
@unsafe @inline(__always)
func weigh<Element: Factor>(
  _ scores: UnsafeMutablePointer<Float>, _ keys: Range<Int>,
  into weights: UnsafeMutablePointer<Element>, rowMax: inout Float, rowSum: inout Float
) -> Vector? {
  let (begin, end) = (keys.lowerBound, keys.upperBound)
  var left = unsafe Vector(loading: scores, at: begin)
  var right = unsafe Vector(loading: scores, at: begin + Vector.width)
  var key = begin + TileSizes.panelWidth
  while key < end {
    unsafe left = left.larger(Vector(loading: scores, at: key))
    unsafe right = right.larger(Vector(loading: scores, at: key + Vector.width))
    key += TileSizes.panelWidth
  }
  let oldMax = rowMax
  // Rounded up, so that all factors between states are powers of two: exact.
  let newMax = max(oldMax, left.larger(right).largestLane.rounded(.up))
  // A row that has seen nothing keeps −∞ as its maximum; 0 stands in for it below, because
  // (−∞) − (−∞) is NaN while 2^(−∞ − 0) is the 0 that is meant.
  let reference = newMax == -.infinity ? 0 : newMax
  var sum = rowSum
  var factor: Vector?
  if newMax > oldMax {
    let kept = exp2(Vector(repeating: oldMax - reference))
    sum *= kept[0]
    rowMax = newMax
    factor = kept
  }

  let shift = Vector(repeating: reference)
  left = Vector()
  right = Vector()
  key = begin
  while key < end {
    let first = unsafe exp2(Vector(loading: scores, at: key) - shift)
    let second = unsafe exp2(Vector(loading: scores, at: key + Vector.width) - shift)
    unsafe Element.store((first, second), to: weights + key / Element.depth)
    // Keys 16 apart are added up together, whatever the width of a vector: the same bits.
    left += first
    if Vector.width < 16 { right += second } else { left += second }
    key += TileSizes.panelWidth
  }
  rowSum = sum + (left + right).laneSum
  return factor
}
