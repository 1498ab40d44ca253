import Attention
import Sharding
import Tensors

/// Sequences that get new tokens together, one after the other: which tokens, and where their keys
/// are.
struct GrowingSequences {
  /// The positions of each one's new tokens.
  let runs: [PositionRange]
  let pages: PagedCache.SequencePages

  var count: Int { runs.count }

  /// Takes sequences that have room for the tokens.
  init(_ sequences: [PageTable.Sequence], runs: [PositionRange], in cache: PagedCache) {
    self.runs = runs
    pages = cache.pages(of: sequences)
  }

  /// Rows of queries that attention takes up at a time without copying the keys that they meet.
  private static let mostRows = 48

  /// Sequences whose queries meet the same pages at once.
  ///
  /// - Parameter rowsOfToken: query heads that share a KV head.
  func groups(rowsOfToken: Int) -> [Range<Int>] {
    var groups: [Range<Int>] = []
    var rows = 0
    for (sequence, run) in runs.enumerated() {
      rows += run.count * rowsOfToken
      if let last = groups.last, rows <= Self.mostRows {
        groups[groups.count - 1] = last.lowerBound..<sequence + 1
      } else {
        groups.append(sequence..<sequence + 1)
        rows = run.count * rowsOfToken
      }
    }
    return groups
  }

  /// The first new token of a sequence, among those of all.
  func firstToken(of sequence: Int) -> Int { runs[..<sequence].reduce(0) { $0 + $1.count } }

  /// The queries of some neighbouring sequences.
  func queries(_ all: borrowing QueryShard, of group: Range<Int>) -> QueryShard {
    let runs = Array(runs[group])
    let (heads, headDim) = (all.tensor.shape[2], all.tensor.shape[3])
    let count = runs.reduce(0) { $0 + $1.count } * heads * headDim
    let first = firstToken(of: group.lowerBound) * heads * headDim
    var tensor = Tensor<Float>(zeros: [1, count / (heads * headDim), heads, headDim])
    var rows = tensor.mutableSpan
    for place in 0..<count { rows[place] = all.tensor.span[first + place] }
    return QueryShard(tensor, runs: runs)
  }
}
