/// Which rows a head selects of a segment.
public enum HeadOffset: Hashable, Sendable {
  /// Head `h` starts with row `h mod rate`, as in the paper.
  case modulo
  /// Neighbouring heads start with the same row, `⌊h / ⌈heads / rate⌉⌋`, as in torchscale; keys
  /// that query heads share are then needed at fewer offsets.
  case grouped
}

extension HeadOffset {
  /// The first row of a segment that a head selects, counted from the segment's start.
  public func offset(ofHead head: Int, queryHeads: Int, dilationRate: Int) -> Int {
    switch self {
    case .modulo: head % dilationRate
    case .grouped: head / ((queryHeads - 1) / dilationRate + 1)
    }
  }
}
