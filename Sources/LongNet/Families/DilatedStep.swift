/// A piece of a task that fits into a round: fewer segments, or some of the keys.
///
/// Pieces of the same keys follow one another; queries come with the first, and what has been found
/// out about them leaves with the last.
struct DilatedStep: Hashable, Sendable {
  let task: DilatedTask
  /// Which rows of each segment are keys of this step.
  let keys: Range<Int>

  /// Whether the queries come with this step.
  var isFirst: Bool { keys.lowerBound == 0 }
  /// Whether the queries have then seen all their keys.
  var isLast: Bool { keys.upperBound == task.keyCount }
}
