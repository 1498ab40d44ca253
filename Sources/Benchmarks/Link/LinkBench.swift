package import MPI
import Reporting
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

  /// Measures one size after the other, called by all ranks of the job together.
  package func measure(
    progressOn terminal: Int32?, on world: borrowing Communicator
  ) throws -> [LinkResult] {
    let size = world.size
    let topology = try Topology(of: world)
    let all = try RankGroup(Array(0..<size), of: world)
    // Of two ranks, there and back is every pair.
    let pairs = try (0..<(size == 2 ? 1 : size)).map {
      try RankGroup([$0, ($0 + 1) % size], of: world)
    }
    var progress = rounds.progress(comparisons: bytes.count, on: terminal)
    defer { progress.clear() }
    var contests: [LinkContest] = []
    for bytes in bytes {
      let ofSize = try
        (pairs.map { (LinkResult.Kind.pair, $0) } + [(.shift, all), (.exchange, all)])
        .map { try LinkContest($0.0, $0.1, bytes: bytes, topology: topology, on: world) }
      try rounds.run(ofSize.flatMap(\.contestants), progress: &progress, on: world)
      contests += ofSize
    }
    return LinkResult.Kind.measured.flatMap { kind in
      let ofKind = contests.filter { $0.kind == kind }
      return ofKind.map(\.result)
        + [true, false].compactMap { sameHost in
          LinkResult(fitOf: ofKind.filter { $0.sameHost == sameHost })
        }
    }
  }
}
