package import Tensors

extension PositionRange {
  /// The indices of those positions that lie in a range.
  @inline(__always)
  package func indices(in positions: Range<Int>) -> Range<Int> {
    let (lower, upper) = (positions.lowerBound - start, positions.upperBound - start)
    func index(_ distance: Int) -> Int {
      if distance <= 0 { return 0 }
      return Swift.min(count, stride == 1 ? distance : (distance + stride - 1) / stride)
    }
    return index(lower)..<Swift.max(index(lower), index(upper))
  }
}
