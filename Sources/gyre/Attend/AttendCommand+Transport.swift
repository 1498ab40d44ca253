import Attention
import Hosts
import Jobs
import MPI
import SequenceParallel
import Sharding

extension AttendCommand {
  /// Connects the ranks; shared memory that is not there is an error that all know of.
  func connect(
    _ attention: ShardedAttention, _ transport: Transport, _ timeline: Timeline?,
    on world: borrowing Communicator
  ) throws -> DistributedAttention {
    var options = DistributedAttention.Options()
    options.team = ThreadTeam(threads: threads)
    options.topology = try topology(of: world)
    options.overlaps = overlap
    options.backwardRoute = requestedRoute
    options.timeline = timeline
    do {
      return try DistributedAttention(
        attention, transport: transport, options: options, on: world)
    } catch let error as MPIError where error.errorClass == .sharedMemory {
      throw AgreedFailure(
        message: world.rank == 0 ? "gyre: \(error); or use --transport ring." : nil)
    }
  }

  /// Without a backward pass, that of the forward pass: it needs no room for another.
  var requestedRoute: BackwardRoute {
    if gradients { return (backwardRoute ?? .auto).route }
    return transport.choice == .query ? .queries : .keys
  }

  /// The transport asked for, or the cheapest that there is room for.
  func choose(
    _ attention: ShardedAttention, _ topology: Topology, on world: borrowing Communicator
  ) throws -> ChosenTransport {
    let asked = transport.choice.resolved(
      topology, mesh: transport.mesh ?? mesh, shape: attention.shape)
    if let asked { return asked }
    if world.size == 1 { return ChosenTransport(.ring, reason: "a single rank") }
    // What fits nowhere cannot even be estimated.
    try checkMemory(attention, .shared, nil, on: world)
    return try ChosenTransport(
      cheapestFor: attention, topology, gradients: gradients, threads: threads, on: world)
  }

  func topology(of world: borrowing Communicator) throws -> Topology {
    guard let ranksPerHost else { return try Topology(of: world) }
    return Topology(ranks: world.size, ranksPerNode: ranksPerHost)
  }

  /// Refuses a problem that the hosts cannot hold before anything is allocated.
  func checkMemory(
    _ attention: ShardedAttention, _ transport: Transport, _ backward: BackwardDecision?,
    on world: borrowing Communicator
  ) throws {
    try checkMemory(
      attention.residentBytes(
        rank: world.rank, transport: transport, gradients: gradients,
        backwardRoute: backward?.route ?? .automatic), on: world)
  }

  /// The same, with the bytes of a rank known.
  func checkMemory(_ residentBytes: Double, on world: borrowing Communicator) throws {
    let ranksHere = try world.splitByNode().size
    try world.agreed {
      try HostMemory.current.require(
        residentBytes * Double(ranksHere),
        for: ranksHere == 1 ? "the tensors of a rank" : "\(ranksHere) ranks",
        remedy: "use more hosts, or a smaller problem" + (random == nil ? "" : " with --random"),
        isOfArguments: random != nil)
    }
  }
}
