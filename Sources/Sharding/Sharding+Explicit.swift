public import Tensors

/// Shards that do not give every position one owner.
public struct ShardingError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What is wrong and what to do, in one sentence.
  public let description: String

  init(_ description: String) {
    self.description = description
  }
}

extension Sharding {
  /// Takes shards as they are: any runs, in any order, as many as a rank has.
  ///
  /// The order of a rank's runs is that of its rows, in files that it reads and tensors that it is
  /// given. Empty runs are left out; runs that touch stay apart, and each travels by itself where
  /// the others are of no use.
  ///
  /// - Parameters:
  ///   - shards: for each rank, the runs of positions that it holds; none is a rank without tokens.
  ///   - tokens: how many positions there are.
  /// - Throws: ``ShardingError``, unless every position of `0..<tokens` has exactly one owner.
  /// - Complexity: O(R log R) for R runs of stride 1; a run with another stride is compared with
  ///   all that lie across it. No memory for positions.
  public init(shards: [[PositionRange]], tokens: Int) throws(ShardingError) {
    guard !shards.isEmpty else {
      throw ShardingError("A sequence needs a rank to hold it; give one list of runs a rank.")
    }
    guard tokens >= 0 else {
      throw ShardingError("A sequence cannot have \(tokens) tokens; give 0 or more.")
    }
    let shards = shards.map { $0.filter { !$0.isEmpty } }
    var runs = shards.enumerated().flatMap { rank, runs in runs.map { (rank: rank, run: $0) } }
    for (rank, run) in runs where run.start < 0 || run[run.count - 1] >= tokens {
      throw ShardingError(
        "Rank \(rank) is to hold the positions \(run), and the sequence has \(tokens) tokens; keep "
          + "runs within 0..<\(tokens).")
    }
    runs.sort { $0.run.start < $1.run.start }
    // Those that begin before the run at hand and end after its beginning.
    var across: [(rank: Int, run: PositionRange)] = []
    for next in runs {
      across.removeAll { $0.run[$0.run.count - 1] < next.run.start }
      for other in across {
        guard let common = next.run.commonIndices(with: other.run) else { continue }
        let position = next.run[common.own.start]
        let owners = [other.rank, next.rank].sorted()
        throw ShardingError(
          owners[0] == owners[1]
            ? "Rank \(owners[0]) is to hold position \(position) twice; name it in one run only."
            : "Position \(position) is to be held by the ranks \(owners[0]) and \(owners[1]); give "
              + "it to one of them.")
      }
      across.append(next)
    }
    let held = runs.reduce(0) { $0 + $1.run.count }
    guard held == tokens else {
      let others = tokens - held == 1 ? "the other one" : "the other \(tokens - held)"
      throw ShardingError(
        "The shards hold \(held) of \(tokens) positions; give \(others) to a rank too.")
    }
    self.init(layout: nil, tokens: tokens, shards: shards)
  }
}
