import FoundationEssentials
import Glibc
import Hosts
import Jobs
package import MPI

extension JobFacts {
  /// Gathers what all ranks see, and each host's first rank of its host; nil on all ranks but 0.
  ///
  /// - Parameter threads: of each rank; nil for as many as there are cores.
  package static func gather(threads: Int?, on world: borrowing Communicator) throws -> JobFacts? {
    let node = try world.splitByNode()
    var rank = RankFacts.current
    rank.rank = world.rank
    rank.threads = try threads ?? world.threadShare()
    rank.readsNextRanksMemory = try node.canReadNextRanksMemory()
    let leaders = try world.allGather(node.broadcast(world.rank, from: 0))
    let hosts = Set(leaders).sorted()
    rank.host = hosts.firstIndex(of: leaders[world.rank]) ?? 0
    // What concerns the host is looked at by one of its ranks.
    let host = node.rank == 0 ? HostFacts.current.withLibrary : nil

    let ranks = try collect(rank, on: world)
    let hostParts = try collect(host, on: world)
    guard let ranks, let hostParts else { return nil }
    var facts = JobFacts(hosts: hostParts.compactMap { $0 }, ranks: ranks)
    facts.announced = .ofThisProcess
    facts.slots = unsafe getenv("OMPI_UNIVERSE_SIZE").flatMap { unsafe Int(String(cString: $0)) }
    return facts
  }

  /// What there is to see without mpirun.
  ///
  /// - Parameter threads: of the process; nil for as many as there are cores.
  package static func alone(threads: Int?) -> JobFacts {
    var rank = RankFacts.current
    rank.threads = threads ?? ProcessorGrant.current.coreCount
    var facts = JobFacts(hosts: [.current], ranks: [rank])
    facts.mpirun = MpirunFacts.current(user: rank.user)
    facts.announced = .ofThisProcess
    return facts
  }

  /// The values of all ranks on rank 0, nil on the others.
  private static func collect<Value: Codable>(
    _ value: Value, on world: borrowing Communicator
  ) throws -> [Value]? {
    let bytes = try JSONEncoder().encode([value])
    return try world.gather(Array(bytes), at: 0)?.flatMap {
      try JSONDecoder().decode([Value].self, from: Data($0))
    }
  }
}
