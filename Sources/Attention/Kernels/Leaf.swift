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

  /// Cuts a shard.
  ///
  /// - Parameter accumulation: how results of leaves are added; if fast, every run is one leaf.
  static func leaves(of runs: [PositionRange], for accumulation: Accumulation) -> [Leaf] {
    var leaves: [Leaf] = []
    var runStart = 0
    for (run, positions) in runs.enumerated() {
      let length = accumulation == .fast ? max(positions.count, 1) : TileSizes.leaf
      for first in stride(from: 0, to: positions.count, by: length) {
        leaves.append(
          Leaf(
            run: run, firstInRun: first, firstInShard: runStart + first,
            positions: positions.slice(first..<min(first + length, positions.count))))
      }
      runStart += positions.count
    }
    return leaves
  }

  /// Its tiles of `length` tokens, as local indices in the leaf.
  func tiles(of length: Int) -> [Range<Int>] {
    stride(from: 0, to: positions.count, by: length).map {
      $0..<min($0 + length, positions.count)
    }
  }
}
