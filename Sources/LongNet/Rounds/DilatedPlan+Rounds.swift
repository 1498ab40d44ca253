extension DilatedPlan {
  /// Cuts the tasks of all ranks into rounds, in each of which the rows that a rank works on take
  /// about so many bytes.
  ///
  /// Queries of one segment are never divided, since each piece of them would need the keys again.
  ///
  /// - Returns: for each round, for each rank, its steps.
  func rounds(ofBytes budget: Int) -> [[[DilatedStep]]] {
    let steps = DilatedSteps(shape: shape, families: families)
    let roundsOfRanks = tasks.map { tasks in
      var rounds: [[DilatedStep]] = []
      var bytes = budget
      for step in tasks.flatMap({ steps.steps(of: $0, bytes: budget) }) {
        let more = steps.byteCount(of: step)
        if bytes + more > budget {
          rounds.append([])
          bytes = 0
        }
        rounds[rounds.count - 1].append(step)
        bytes += more
      }
      return rounds
    }
    let count = roundsOfRanks.reduce(0) { max($0, $1.count) }
    return (0..<count).map { round in
      roundsOfRanks.map { round < $0.count ? $0[round] : [] }
    }
  }
}
