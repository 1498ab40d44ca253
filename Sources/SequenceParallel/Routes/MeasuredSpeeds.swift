public import Attention
public import MPI
import Sharding
import Tensors

/// How fast ranks compute and send, measured at the start of a job, to choose between ways of doing
/// the same.
public struct MeasuredSpeeds: Hashable, Sendable {
  /// Floating-point operations a second of the slowest rank, all computing at once.
  public let flopsPerSecond: Double
  /// Bytes a second that the slowest host sends while it receives as many, all at once; or a rank,
  /// if all are on one host.
  public let bytesPerSecond: Double
  /// Seconds of a short message.
  public let latency: Double

  /// Takes known speeds.
  public init(flopsPerSecond: Double, bytesPerSecond: Double, latency: Double = 0) {
    self.flopsPerSecond = flopsPerSecond
    self.bytesPerSecond = bytesPerSecond
    self.latency = latency
  }

  private static let tokens = 512
  private static let repeats = 3
  private static let messageBytes = 1 << 20
  private static let shortBytes = 64

  /// Measures, called by all ranks together: some milliseconds of attention of the given head dims,
  /// and messages of 1 MiB and of 64 bytes from each host to the next.
  public init(
    shape: AttentionShape, team: ThreadTeam, topology: Topology,
    on world: borrowing Communicator
  ) throws(MPIError) {
    try world.barrier()
    let flops = Self.flopsPerSecond(shape: shape, team: team)
    // One rank of each host, since the ranks of a host share its link; or all ranks of a single
    // host.
    let ring =
      topology.nodes.count == 1 ? topology.nodes[0] : topology.nodes.compactMap(\.first)
    let long = try Self.secondsOfShift(of: Self.messageBytes, round: ring, on: world)
    let short = try Self.secondsOfShift(of: Self.shortBytes, round: ring, on: world)
    flopsPerSecond = try world.allReduce(flops, with: .min)
    latency = try world.allReduce(short, with: .max)
    let seconds = try world.allReduce(long, with: .max)
    bytesPerSecond = seconds > 0 ? Double(Self.messageBytes) / seconds : .infinity
  }

  /// A dense forward pass with a head for each thread.
  private static func flopsPerSecond(shape: AttentionShape, team: ThreadTeam) -> Double {
    let heads = AttentionShape(
      batch: 1, queryHeads: team.threads, kvHeads: team.threads, headDim: shape.headDim,
      valueHeadDim: shape.valueHeadDim)
    let runs = [PositionRange(0..<tokens)]
    let queries = QueryShard(
      Tensor(repeating: 0.5, shape: [1, tokens, team.threads, shape.headDim]), runs: runs)
    let block = KeyValueBlock(shape: heads, elementType: .f32, runs: runs)
    let seconds = fastest {
      var accumulator = ForwardAccumulator(
        shape: heads, tokens: tokens, scale: 1, pattern: FullPattern(), team: team)
      accumulator.attend(queries, to: block)
    }
    return Double(tokens * tokens * team.threads * shape.forwardFlopsPerPair) / seconds
  }

  /// Messages from each of some ranks to the next; 0 for a single rank and for those that have
  /// none.
  private static func secondsOfShift(
    of byteCount: Int, round ranks: [Int], on world: borrowing Communicator
  ) throws(MPIError) -> Double {
    if ranks.count == 1 { return 0 }
    guard let ring = try world.split(color: ranks.contains(world.rank) ? 0 : nil) else { return 0 }
    let trial = try LinkTrial(.shift, byteCount: byteCount, on: ring)
    return try fastest { () throws(MPIError) in try trial.run() }
  }

  /// The seconds of the fastest of a few runs.
  private static func fastest<E: Error>(_ body: () throws(E) -> Void) throws(E) -> Double {
    var least = Double.infinity
    for _ in 0..<repeats {
      let start = ContinuousClock.now
      try body()
      let (seconds, attoseconds) = (ContinuousClock.now - start).components
      least = min(least, Double(seconds) + Double(attoseconds) * 1e-18)
    }
    return least
  }
}
