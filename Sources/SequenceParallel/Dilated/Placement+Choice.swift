import Attention
public import MPI

extension Placement {
  /// The cheapest placement for a problem, called by all ranks together.
  ///
  /// A placement takes as long as the rank with most pairs computes, or as the rank that sends most
  /// bytes sends, whichever is longer, since one hides behind the other. Where others are not at
  /// least a twentieth faster, everything stays with the queries.
  ///
  /// - Parameters:
  ///   - problem: over a ``DilatedPattern``.
  ///   - gradients: whether a backward pass follows.
  ///   - speeds: of ranks and links.
  /// - Returns: the placement, and why in a few words.
  public static func cheapest(
    for problem: ShardedAttention, gradients: Bool, speeds: MeasuredSpeeds,
    on world: borrowing Communicator
  ) throws(MPIError) -> (placement: Placement, reason: String) {
    var estimates: [(placement: Placement, seconds: Double)] = []
    for placement in [Placement.sequence, .units, .rate] {
      let summary = try PlacementSummary(
        of: problem, placement: placement, gradients: gradients, on: world)
      estimates.append(
        (placement, summary.seconds(problem.shape, gradients: gradients, speeds: speeds)))
    }
    var best = estimates[0]
    for other in estimates.dropFirst() where other.seconds < best.seconds * 0.95 { best = other }
    let times = estimates.map { "\($0.placement) \(rounded($0.seconds)) s" }
    return (best.placement, "estimates: " + times.joined(separator: ", "))
  }

  private static func rounded(_ seconds: Double) -> Double {
    guard seconds > 0, seconds.isFinite else { return seconds }
    var unit = 1.0
    while seconds < 10 * unit { unit /= 10 }
    return (seconds / unit).rounded() * unit
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
