import Sharding
import Tensors

extension Sharding {
  /// Tokens of each rank.
  var tokenCounts: [Int] { shards.indices.map(tokenCount) }

  /// Some neighbouring runs of a rank; all, unless it is said which.
  func runs(of rank: Int, _ runs: Range<Int>?) -> [PositionRange] {
    runs.map { Array(shards[rank][$0]) } ?? shards[rank]
  }

  /// For each rank, for each of its runs, its tokens times `bytesPerToken`.
  func runSizes(bytesPerToken: Int) -> [[Int]] {
    shards.map { $0.map { $0.count * bytesPerToken } }
  }

  /// The local indices of the tokens of some neighbouring runs of a rank.
  func indices(of rank: Int, _ runs: Range<Int>) -> Range<Int> {
    let first = shards[rank][..<runs.lowerBound].tokenCount
    return first..<first + shards[rank][runs].tokenCount
  }
}

extension Collection<PositionRange> {
  /// Tokens of these runs.
  var tokenCount: Int { reduce(0) { $0 + $1.count } }
}
