import FoundationEssentials
package import Hosts
package import MPI

extension RankPlace {
  /// This process.
  package static var current: RankPlace {
    let host = MPIEnvironment.processorName
    // Made anew whenever a kernel starts; where the system has none, every host is a machine.
    let machine = text(ofFile: "/proc/sys/kernel/random/boot_id").firstLine
    return RankPlace(
      host: host, machine: machine.isEmpty ? host : machine, grant: .current)
  }

  /// The same for all ranks of a machine, and for few others.
  fileprivate var color: Int {
    Int(machine.utf8.reduce(0 as UInt32) { ($0 ^ UInt32($1)) &* 0x0100_0193 } >> 1)
  }
}

extension Communicator {
  /// How many threads this rank has where nobody says: its part of the cores of its machine.
  ///
  /// Called by all ranks together.
  package func threadShare() throws -> Int {
    let own = RankPlace.current
    guard let neighbours = try split(color: own.color) else { return own.grant.coreCount }
    let places = try neighbours.allGather(Array(JSONEncoder().encode(own))).map {
      try JSONDecoder().decode(RankPlace.self, from: Data($0))
    }
    return places.threadShares[neighbours.rank]
  }
}
