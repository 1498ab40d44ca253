import Attention
import Tensors

/// The work of some families, to be divided among ranks.
///
/// Costs are (query, key) pairs times heads, of one sequence.
struct DilatedWork {
  let families: [DilatedFamily]
  let isCausal: Bool

  /// The cost of a whole family.
  func cost(ofFamily family: Int) -> Int {
    stretches(ofFamily: family).reduce(0) { $0 + cost($1) }
  }

  /// The whole family as tasks, one for its full segments and one for a shorter one at the end.
  func stretches(ofFamily family: Int) -> [DilatedTask] {
    families[family].stretches.compactMap { segments in
      let rows = families[family].rows(of: segments.lowerBound).count
      return rows == 0 ? nil : task(family, segments, [PositionRange(0..<rows)], rows: rows)
    }
  }

  func cost(_ task: DilatedTask) -> Int {
    task.pairs(isCausal: isCausal) * families[task.family].queryHeads.count
  }

  func task(
    _ family: Int, _ segments: Range<Int>, _ queries: [PositionRange], rows: Int
  ) -> DilatedTask {
    DilatedTask(
      family: family, segments: segments, queries: queries, rows: rows, isCausal: isCausal)
  }
}
