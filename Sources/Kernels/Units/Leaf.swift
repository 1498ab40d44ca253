import Tensors

/// A stretch of a shard that is worked on without regard to the rest of the shard.
struct Leaf {
  /// The index of its run.
  let run: Int
  /// Its first token, as a local index in the run.
  let firstInRun: Int
  /// Its first token, as a local index in the shard.
  let firstInShard: Int
  let positions: PositionRange

  /// Its tiles of `length` tokens, as local indices in the leaf.
  func tiles(of length: Int) -> some Sequence<Range<Int>> {
    let count = positions.count
    return stride(from: 0, to: count, by: length).lazy.map { $0..<Swift.min($0 + length, count) }
  }
}

/// The leaves of a shard, cut one after the other as they are asked for: a shard can have millions.
struct Leaves: Sequence, IteratorProtocol {
  private let runs: [PositionRange]
  private let length: Int
  private var run = 0
  private var firstInRun = 0
  private var runStart = 0

  /// Cuts each run of a shard into leaves of `length` tokens, the last as long as what is left.
  init(of runs: [PositionRange], length: Int) {
    self.runs = runs
    self.length = length
  }

  mutating func next() -> Leaf? {
    while run < runs.count, firstInRun >= runs[run].count {
      runStart += runs[run].count
      run += 1
      firstInRun = 0
    }
    guard run < runs.count else { return nil }
    let first = firstInRun
    firstInRun += length
    return Leaf(
      run: run, firstInRun: first, firstInShard: runStart + first,
      positions: runs[run].slice(first..<Swift.min(first + length, runs[run].count)))
  }
}
