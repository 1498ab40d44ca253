import MPI

/// Makes streams of blocks by a transport, called by all ranks together.
struct StreamMaker {
  private let transport: Transport
  private let groups: [[Int]]
  private let overlaps: Bool
  private let timeline: Timeline?

  /// - Parameter groups: of the transport.
  init(_ transport: Transport, groups: [[Int]], options: DistributedAttention.Options) {
    self.transport = transport
    self.groups = groups
    overlaps = options.overlaps
    timeline = options.timeline
  }

  /// A stream of blocks on their way round the ranks.
  func stream(
    of blocks: TravellingBlocks, on world: borrowing Communicator
  ) throws(MPIError) -> any BlockStream {
    transport == .allgather
      ? try DirectStream(
        ranks: world.size, sees: blocks.sees, sizes: blocks.sizes, overlaps: overlaps,
        timeline: timeline, on: world)
      : try RotatingStream(
        schedule: blocks.schedule(groups), sizes: blocks.sizes, overlaps: overlaps,
        timeline: timeline, on: world)
  }
}
