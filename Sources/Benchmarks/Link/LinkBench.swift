import Hosts
import Jobs
package import MPI
package import Reporting
import SequenceParallel

/// Messages of several sizes and kinds.
package struct LinkBench {
  /// Of a message.
  package let bytes: [Int]
  package let rounds: Rounds

  package init(bytes: [Int], rounds: Rounds) {
    self.bytes = bytes
    self.rounds = rounds
  }

  /// Refuses messages that the hosts cannot hold: in an exchange a rank has one from and one for
  /// each.
  private func checkMemory(on world: borrowing Communicator) throws {
    let most = bytes.max() ?? 0
    let needed = 2 * Double(most) * Double(max(1, world.size - 1))
    let here = try world.splitByNode().allReduce(needed, with: .sum)
    try world.agreed {
      try HostMemory.current.require(
        here, for: "messages of \(grouped(most)) bytes among \(counted(world.size, "rank"))",
        remedy: "give fewer --bytes, or more hosts", isOfArguments: true)
    }
  }

  /// Measures one size after the other, called by all ranks of the job together.
  ///
  /// - Parameters:
  ///   - place: where somebody watches; nil on all ranks but 0.
  ///   - emit: takes the rows of a size, and at the end the fits; called by all ranks.
  package func measure(
    progressOn place: ProgressPlace?, on world: borrowing Communicator,
    emit: ([LinkResult]) throws -> Void
  ) throws {
    let size = world.size
    try checkMemory(on: world)
    let topology = try Topology(of: world)
    let all = try RankGroup(Array(0..<size), of: world)
    // Of two ranks, there and back is every pair.
    let pairs = try (0..<(size == 2 ? 1 : size)).map {
      try RankGroup([$0, ($0 + 1) % size], of: world)
    }
    let kinds = pairs.map { (LinkResult.Kind.pair, $0) } + [(.shift, all), (.exchange, all)]
    let roundSeconds = bytes.map { bytes in
      kinds.reduce(0) { $0 + LinkContest.seconds($1.0, bytes: bytes, ranks: size) }
    }
    var comparisons = Comparisons("link", rounds, roundSeconds: roundSeconds, on: place)
    var contests: [LinkContest] = []
    for bytes in bytes where try comparisons.hasTime(on: world) {
      let ofSize = try kinds.map {
        try LinkContest($0.0, $0.1, bytes: bytes, topology: topology, on: world)
      }
      try comparisons.run(ofSize.flatMap(\.contestants), on: world)
      try emit(ofSize.map(\.result))
      contests += ofSize
    }
    try emit(
      LinkResult.Kind.measured.flatMap { kind in
        [true, false].compactMap { sameHost in
          LinkResult(fitOf: contests.filter { $0.kind == kind && $0.sameHost == sameHost })
        }
      })
    comparisons.finish()
  }
}
