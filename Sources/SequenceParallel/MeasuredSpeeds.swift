public import Attention
public import MPI
import Sharding
import Tensors

/// How fast ranks compute and send, measured at the start of a job, to choose between ways of doing
/// the same.
public struct MeasuredSpeeds: Hashable, Sendable {
  /// Floating-point operations a second of the slowest rank, all computing at once.
  public let flopsPerSecond: Double
  /// Bytes a second that the slowest rank sends while it receives as many, all at once.
  public let bytesPerSecond: Double

  /// Takes known speeds.
  public init(flopsPerSecond: Double, bytesPerSecond: Double) {
    self.flopsPerSecond = flopsPerSecond
    self.bytesPerSecond = bytesPerSecond
  }

  private static let tokens = 512
  private static let repeats = 3
  private static let messageBytes = 1 << 20

  /// Measures, called by all ranks together: some milliseconds of attention of the given head dims,
  /// and messages of 1 MiB from each rank to the next.
  public init(
    shape: AttentionShape, team: ThreadTeam, on world: borrowing Communicator
  ) throws(MPIError) {
    try world.barrier()
    let flops = Self.flopsPerSecond(shape: shape, team: team)
    let bytes = try Self.bytesPerSecond(on: world)
    flopsPerSecond = try world.allReduce(flops, with: .min)
    bytesPerSecond = try world.allReduce(bytes, with: .min)
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

  /// A shift round the ring; infinite for one rank.
  private static func bytesPerSecond(on world: borrowing Communicator) throws(MPIError) -> Double {
    if world.size == 1 { return .infinity }
    let ring = try world.duplicate()
    let outgoing = AlignedBuffer<UInt8>(zeros: messageBytes)
    let incoming = AlignedBuffer<UInt8>(zeros: messageBytes)
    let next = (ring.rank + 1) % ring.size
    let previous = (ring.rank + ring.size - 1) % ring.size
    func offsets(only peer: Int) -> PeerExchange.Offsets {
      (0...ring.size).map { $0 > peer ? messageBytes : 0 }
    }
    let exchange = PeerExchange("speed")
    let seconds = try fastest { () throws(MPIError) in
      try exchange.begin(
        sending: outgoing, offsets(only: next), receiving: incoming, offsets(only: previous),
        tag: 0, on: ring)
      try ring.wait(for: "a measurement of the link") { () throws(MPIError) in
        try exchange.isFinished()
      }
    }
    return Double(messageBytes) / seconds
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
