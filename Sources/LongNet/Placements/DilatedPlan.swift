package import Attention
package import Sharding

/// Who computes what of dilated attention.
///
/// It is a value that every rank computes for itself. Any assignment of tasks to ranks in which
/// each query of each family occurs once gives the same answer; a ``Placement`` chooses one.
package struct DilatedPlan: Sendable {
  package let shape: AttentionShape
  /// Which rank holds which tokens.
  package let home: Sharding
  package let pattern: DilatedPattern
  package let families: [DilatedFamily]
  /// For each rank, its tasks in their order.
  package let tasks: [[DilatedTask]]

  /// Places the work of a problem.
  ///
  /// - Complexity: O(segments) for the placement by sequence, O(families + ranks) for others.
  package init(_ problem: ShardedDilatedAttention, placement: Placement) {
    let (pattern, shape, home) = (problem.pattern, problem.shape, problem.sharding)
    let families = DilatedFamily.all(of: pattern, shape: shape, tokens: home.tokens)
    self.shape = shape
    self.home = home
    self.pattern = pattern
    self.families = families
    tasks = placement.tasks(families, pattern: pattern, shape: shape, home: home)
  }

  package var ranks: Int { home.ranks }

  /// The (query, key) pairs of a task, over all its heads and all sequences.
  package func pairs(_ task: DilatedTask) -> Int {
    task.pairs(isCausal: pattern.isCausal) * families[task.family].queryHeads.count * shape.batch
  }

  /// The (query, key) pairs that a rank computes.
  package func pairs(rank: Int) -> Int { tasks[rank].reduce(0) { $0 + pairs($1) } }
}
