import MPI

/// Makes streams of blocks by a transport, called by all ranks together.
struct StreamMaker {
  private let transport: Transport
  private let groups: [[Int]]
  private let part: DistributedAttention.Part
  private let overlaps: Bool
  private let timeline: Timeline?

  /// - Parameter groups: of the transport.
  init(_ transport: Transport, groups: [[Int]], options: DistributedAttention.Options) {
    self.transport = transport
    self.groups = groups
    part = options.part
    overlaps = options.overlaps
    timeline = options.timeline
  }

  /// A stream of blocks on their way round the ranks.
  func stream(
    of blocks: TravellingBlocks, on world: borrowing Communicator
  ) throws(MPIError) -> any BlockStream {
    switch part {
    case .all: try travellingStream(of: blocks, on: world)
    case .computing:
      LocalStream(
        schedule: transport == .allgather
          ? RingSchedule(groups: groups, sees: blocks.sees) : blocks.schedule(groups),
        sizes: blocks.sizes, timeline: timeline, rank: world.rank)
    case .transfers: IdleStream(try travellingStream(of: blocks, on: world))
    }
  }

  private func travellingStream(
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
