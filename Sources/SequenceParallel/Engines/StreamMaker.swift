import Attention
import MPI

/// Makes streams of blocks on their way between ranks that have the same heads, called by all of
/// them together.
struct StreamMaker {
  private let planner: RoutePlanner
  private let part: DistributedAttention.Part
  private let settings: StreamSettings

  /// - Parameter planner: of the ranks' problem.
  init(_ planner: RoutePlanner, options: DistributedAttention.Options) {
    self.planner = planner
    part = options.part
    settings = StreamSettings(overlaps: options.overlaps, timeline: options.timeline)
  }

  /// A stream of what travels in a pass.
  ///
  /// - Precondition: the route can serve these ranks.
  func stream(
    on route: Route, _ pass: AttentionPass, of world: borrowing Communicator
  ) throws(MPIError) -> any BlockStream {
    guard let groups = try? route.groups(of: planner.topology) else {
      preconditionFailure("\(route) cannot serve these hosts")
    }
    let blocks = planner.blocks(route.travelling, pass)
    let delivery = route.delivery.kind
    return switch part {
    case .all: try delivery.stream(of: blocks, groups: groups, settings: settings, on: world)
    case .computing:
      LocalStream(
        schedule: delivery.order(of: blocks, groups: groups), sizes: blocks.sizes,
        timeline: settings.timeline, rank: world.rank)
    case .transfers:
      IdleStream(
        try delivery.stream(of: blocks, groups: groups, settings: settings, on: world))
    }
  }
}
