import MPI

/// One of the things that are measured in turn.
final class Contestant {
  private let group: RankGroup
  /// How long it takes, beside others of the round.
  let weight: Double
  private let body: (borrowing Communicator) throws -> RankFigures
  /// For each round, what each rank has measured; the same on all ranks of the job.
  private(set) var rounds: [[RankFigures]] = []

  /// - Parameters:
  ///   - weight: how long it takes, beside others of the round.
  ///   - body: what a member of the group runs.
  init(
    _ group: RankGroup, weight: Double = 1,
    _ body: @escaping (borrowing Communicator) throws -> RankFigures
  ) {
    self.group = group
    self.weight = weight
    self.body = body
  }

  /// Measures once, called by all ranks of the job together.
  func measure(isCounted: Bool, on world: borrowing Communicator) throws {
    let figures = try group.measure(on: world, body)
    if isCounted { rounds.append(figures) }
  }

  /// A number for each round.
  func samples(_ figure: ([RankFigures]) -> Double) -> Samples {
    var samples = Samples()
    for round in rounds { samples.append(figure(round)) }
    return samples
  }

  /// Of the slowest rank.
  var seconds: Samples { samples { $0.map(\.seconds).max() ?? 0 } }
}

/// What a row says about ranks.
extension Contestant {
  /// Seconds of the slowest, the middle and the fastest rank, each the median over rounds.
  var rankSeconds: (slowest: Double, median: Double, fastest: Double) {
    let sorted = { (round: [RankFigures]) in round.map(\.seconds).sorted() }
    return (
      seconds.median, samples { sorted($0)[$0.count / 2] }.median,
      samples { sorted($0)[0] }.median
    )
  }

  /// The mean over ranks.
  func mean(_ figure: KeyPath<RankFigures, Double>) -> Samples {
    samples { round in round.reduce(0) { $0 + $1[keyPath: figure] } / Double(round.count) }
  }

  /// The slowest rank's computing, over the mean.
  var imbalance: Samples {
    samples { round in
      let computing = round.map(\.computing)
      return (computing.max() ?? 0) - computing.reduce(0, +) / Double(round.count)
    }
  }

  /// The largest of any rank.
  func largest(_ figure: KeyPath<RankFigures, Int>) -> Int {
    rounds.first?.map { $0[keyPath: figure] }.max() ?? 0
  }
}
