import Attention
import Hosts
import Jobs
import MPI
import SequenceParallel
import Sharding

extension AttendCommand {
  /// Connects the ranks; shared memory that is not there is an error that all know of.
  func connect(
    _ attention: ShardedAttention, _ route: Route, _ team: ThreadTeam, _ timeline: Timeline?,
    on world: borrowing Communicator
  ) throws -> DistributedAttention {
    let options = try options(team, timeline, on: world)
    do {
      return try DistributedAttention(attention, route: route, options: options, on: world)
    } catch let error as MPIError where error.errorClass == .sharedMemory {
      throw withoutSharedMemory(error, rank: world.rank)
    }
  }

  /// The same with sinks apart.
  func connect(
    _ attention: ShardedAttention, _ sinks: CachedSinkAttention.Sinks, _ route: Route,
    _ team: ThreadTeam, _ timeline: Timeline?, on world: borrowing Communicator
  ) throws -> CachedSinkAttention {
    let options = try options(team, timeline, on: world)
    do {
      return try CachedSinkAttention(
        attention, sinks: sinks, route: route, options: options, on: world)
    } catch let error as MPIError where error.errorClass == .sharedMemory {
      throw withoutSharedMemory(error, rank: world.rank)
    }
  }

  /// The same with rows of global tokens apart.
  func connect(
    _ attention: ShardedAttention, _ globals: PlannedGlobals,
    _ projections: GlobalProjections, _ route: Route, _ team: ThreadTeam,
    _ timeline: Timeline?, on world: borrowing Communicator
  ) throws -> GlobalProjectionAttention<DistributedAttention> {
    let options = try options(team, timeline, on: world)
    do {
      return try GlobalProjectionAttention(
        attention, queries: globals.queries, projections: projections,
        route: route, globalRoute: globals.route,
        globalBackwardRoute: globals.backward, options: options, on: world)
    } catch let error as MPIError where error.errorClass == .sharedMemory {
      throw withoutSharedMemory(error, rank: world.rank)
    }
  }

  /// The same with a decay.
  func connect(
    _ attention: ShardedAttention, _ globals: PlannedGlobals, _ projections: GlobalProjections,
    _ decay: XPosDecay, _ places: XPosPlaces, _ route: Route, _ team: ThreadTeam,
    _ timeline: Timeline?, on world: borrowing Communicator
  ) throws -> GlobalProjectionAttention<XPosAttention> {
    let options = try options(team, timeline, on: world)
    var ofGlobals = options
    ofGlobals.backwardRoute = .route(globals.backward)
    do {
      return try GlobalProjectionAttention(
        attention, queries: globals.queries.global, projections: projections,
        others: XPosAttention(
          attention.seen(by: globals.queries.others), decay: decay, places: places, route: route,
          options: options, on: world),
        global: XPosAttention(
          attention.seen(by: globals.queries.global), decay: decay, places: places,
          route: globals.route, options: ofGlobals, on: world), team: team, on: world)
    } catch let error as MPIError where error.errorClass == .sharedMemory {
      throw withoutSharedMemory(error, rank: world.rank)
    }
  }

  /// The same with a decay alone.
  func connect(
    _ attention: ShardedAttention, _ decay: XPosDecay, _ places: XPosPlaces, _ route: Route,
    _ team: ThreadTeam, _ timeline: Timeline?, on world: borrowing Communicator
  ) throws -> XPosAttention {
    let options = try options(team, timeline, on: world)
    do {
      return try XPosAttention(
        attention, decay: decay, places: places, route: route, options: options, on: world)
    } catch let error as MPIError where error.errorClass == .sharedMemory {
      throw withoutSharedMemory(error, rank: world.rank)
    }
  }

  private func options(
    _ team: ThreadTeam, _ timeline: Timeline?, on world: borrowing Communicator
  ) throws -> DistributedAttention.Options {
    var options = DistributedAttention.Options()
    options.team = team
    options.topology = try topology(of: world)
    options.overlaps = overlap
    options.backwardRoute = requestedBackwardRoute ?? .automatic
    options.timeline = timeline
    return options
  }

  private func withoutSharedMemory(_ error: MPIError, rank: Int) -> AgreedFailure {
    AgreedFailure(message: rank == 0 ? "gyre: \(error); or use --transport ring." : nil)
  }

  /// What is asked of the backward pass; nil if there is none.
  var requestedBackwardRoute: BackwardRoute? {
    guard gradients else { return nil }
    let asked = (backwardRoute ?? .auto).route
    return labelCount != nil && asked == .automatic ? .keys : asked
  }

  /// The transport asked for, or the cheapest that there is room for.
  func choose(
    _ planner: RoutePlanner, _ team: ThreadTeam, on world: borrowing Communicator
  ) throws -> ChosenTransport {
    let asked = try transport.with(mesh, travel).resolved(
      planner.topology, shape: planner.problem.shape)
    if let asked { return asked }
    if world.size == 1 { return ChosenTransport(.ring, reason: "a single rank") }
    if labelCount != nil, planner.topology.nodes.count > 1 {
      return ChosenTransport(
        .ring, reason: "labels' terms are with the queries, so that keys travel")
    }
    return try ChosenTransport(
      cheapestBy: planner, backward: requestedBackwardRoute, team: team, on: world)
  }

  func topology(of world: borrowing Communicator) throws -> Topology {
    guard let ranksPerHost else { return try Topology(of: world) }
    return Topology(ranks: world.size, ranksPerNode: ranksPerHost)
  }

  /// Refuses a problem that the hosts cannot hold before anything is allocated.
  ///
  /// - Parameter needed: the bytes of this rank's tensors.
  func checkMemory(_ needed: Double, on world: borrowing Communicator) throws {
    // A plan may be of hosts that are not here.
    if explaining.explain { return }
    let ranksHere = try world.splitByNode().size
    try world.agreed {
      try HostMemory.current.require(
        needed * Double(ranksHere),
        for: ranksHere == 1 ? "the tensors of a rank" : "\(ranksHere) ranks",
        remedy: "use more hosts, or a smaller problem" + (random == nil ? "" : " with --random"),
        isOfArguments: random != nil)
    }
  }
}
