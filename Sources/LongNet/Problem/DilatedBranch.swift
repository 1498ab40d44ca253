public import Tensors

/// One branch of dilated attention: the sequence is cut into segments, and of each segment every
/// `dilationRate`-th row attends to every `dilationRate`-th row.
public struct DilatedBranch: Hashable, Sendable {
  /// Tokens of a segment; the last one may be shorter.
  public let segmentLength: Int
  /// The distance between neighbouring rows.
  public let dilationRate: Int

  /// - Precondition: both are positive.
  public init(segmentLength: Int, dilationRate: Int) {
    precondition(segmentLength > 0 && dilationRate > 0, "a branch has a length and a rate")
    self.segmentLength = segmentLength
    self.dilationRate = dilationRate
  }

  /// The segments of a sequence.
  public func segmentCount(tokens: Int) -> Int {
    tokens / segmentLength + (tokens % segmentLength == 0 ? 0 : 1)
  }

  /// The positions of the rows that a segment selects.
  ///
  /// - Parameters:
  ///   - offset: of the first row from the start of the segment.
  ///   - tokens: of the sequence, at which the last segment ends.
  public func rows(ofSegment segment: Int, offset: Int, tokens: Int) -> PositionRange {
    let start = segment * segmentLength
    let length = min(segmentLength, tokens - start)
    let count = offset < length ? (length - offset - 1) / dilationRate + 1 : 0
    // One row has no neighbour, however far apart they would be.
    return PositionRange(
      start: start + offset, stride: count > 1 ? dilationRate : 1, count: count)
  }
}
