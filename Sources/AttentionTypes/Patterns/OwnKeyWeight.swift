import Compute
import Glibc
import Tensors

/// Structured prompting's weight: `f(s) = s + ln M` for a key of the task, `f(s) = s` for others,
/// `f′(s) = 1`; M is the number of context windows.
///
/// A task that sees M windows would else hardly see itself. Windows do not see keys of the task, so
/// that it does not matter to them.
///
/// Cost: a question for each tile, and for tiles with keys of the task one for each vector.
///
/// Source: Hao et al. 2022, Structured Prompting, section 3.2.
struct OwnKeyWeight: ScoreRule {
  /// For each sequence, the window of each key.
  private let keys: [LabelRuns]
  /// For each sequence, ln M.
  private let bias: [Float]

  /// Takes, for each sequence, the window of each key; −1 is the task.
  init(windows: [ArraySlice<Int32>]) {
    keys = windows.map { LabelRuns($0) }
    bias = windows.map { windows in
      let count = Set(windows).subtracting([ParallelWindowMask.task]).count
      return Float(log(Double(max(1, count))))
    }
  }

  private func hasOwn(_ place: ScorePlace) -> Bool {
    place.count > 0
      && keys[place.batch].bounds(of: place.keys).lowerBound
        == ParallelWindowMask.task
  }

  /// Adds the logarithm in lanes of the task's keys.
  func change(_ scores: Vector, at place: ScorePlace) -> (score: Vector, slope: Vector) {
    let one = Vector(repeating: 1)
    guard hasOwn(place) else { return (scores, one) }
    var added = Vector(repeating: 0)
    keys[place.batch].forEach(in: place.keys) { lane, window in
      if window == ParallelWindowMask.task { added[lane] = bias[place.batch] }
    }
    return (scores + added, one)
  }

  /// Adds nothing to tiles that have no key of the task, without a question for each vector.
  ///
  /// Their scores are rounded like others: tiles are of other sizes with other instruction sets.
  func apply(to tile: ScoreTile) {
    if hasOwn(tile.first) {
      changeVectors(of: tile)
    } else {
      Unchanged().changeVectors(of: tile)
    }
  }
}

/// `f(s) = s`.
private struct Unchanged: ScoreRule {
  func change(_ scores: Vector, at place: ScorePlace) -> (score: Vector, slope: Vector) {
    (scores, Vector(repeating: 1))
  }
}

extension ScorePlace {
  /// The positions of the keys.
  fileprivate var keys: PositionRange {
    PositionRange(start: firstKey, stride: keyStride, count: count)
  }
}
