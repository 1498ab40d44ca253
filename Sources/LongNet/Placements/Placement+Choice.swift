import Attention
public import MPI
public import SequenceParallel

extension Placement {
  /// The cheapest placement for a problem, called by all ranks together.
  ///
  /// A placement takes as long as the rank with most pairs computes, or as the rank that sends most
  /// bytes sends, whichever is longer, since one hides behind the other. Where others are not at
  /// least a twentieth faster, everything stays with the queries.
  ///
  /// - Parameters:
  ///   - problem: what is to be computed.
  ///   - gradients: whether a backward pass follows.
  ///   - speeds: of ranks and links.
  /// - Returns: the summary of the placement, and the estimates of all in seconds, this one's
  ///   first.
  public static func cheapest(
    for problem: ShardedDilatedAttention, gradients: Bool, speeds: MeasuredSpeeds,
    on world: borrowing Communicator
  ) throws(MPIError) -> (summary: PlacementSummary, estimates: [(Placement, seconds: Double)]) {
    var best: PlacementSummary?
    var estimates: [(Placement, seconds: Double)] = []
    for placement in [Placement.sequence, .units, .rate] {
      let summary = try PlacementSummary(
        of: problem, placement: placement, gradients: gradients, on: world)
      let seconds = summary.seconds(problem.shape, gradients: gradients, speeds: speeds)
      let isFirst = estimates.first.map { seconds < $0.seconds * 0.95 } ?? true
      estimates.insert((placement, seconds), at: isFirst ? 0 : estimates.count)
      if isFirst { best = summary }
    }
    guard let best else { preconditionFailure("there is a placement") }
    return (best, estimates)
  }
}

extension PlacementSummary {
  /// The time of the passes, as far as flops and bytes tell.
  fileprivate func seconds(
    _ shape: AttentionShape, gradients: Bool, speeds: MeasuredSpeeds
  ) -> Double {
    func longest(_ flopsPerPair: Int, _ bytes: (Share) -> Int) -> Double {
      let pairs = shares.reduce(0) { max($0, $1.pairs) }
      let bytes = shares.reduce(0) { max($0, bytes($1)) }
      return max(
        Double(pairs) * Double(flopsPerPair) / speeds.flopsPerSecond,
        Double(bytes) / speeds.bytesPerSecond)
    }
    return longest(shape.forwardFlopsPerPair, \.bytesSent)
      + (gradients ? longest(shape.backwardFlopsPerPair, \.backwardBytesSent) : 0)
  }
}
