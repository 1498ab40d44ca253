import Attention
public import MPI
import Sharding

/// Who computes what of dilated attention, and what it costs, before anything is computed.
public struct PlacementSummary: Hashable, Sendable {
  /// What one rank has to do.
  public struct Share: Hashable, Sendable {
    /// The indices of the branches.
    public let branches: [Int]
    /// Segments of which the rank computes at least some queries, counted for each family: heads
    /// that select the same rows.
    public let segments: Int
    /// (query, key) pairs, over all heads and sequences.
    public let pairs: Int
    /// Bytes that the rank sends in the forward pass.
    public let bytesSent: Int
    /// Bytes that it sends in the backward pass.
    public let backwardBytesSent: Int
  }

  /// The work of each rank.
  public let shares: [Share]

  /// The families of all branches: heads of a branch that select the same rows.
  public let families: Int

  /// Mean over greatest number of pairs: 1 if all ranks have equally much to do.
  public var balance: Double {
    let greatest = shares.reduce(0) { max($0, $1.pairs) }
    let mean = Double(shares.reduce(0) { $0 + $1.pairs }) / Double(shares.count)
    return greatest == 0 ? 1 : mean / Double(greatest)
  }

  /// Summarises a placement, called by all ranks together; each works out its own share.
  ///
  /// - Parameters:
  ///   - problem: what is to be computed.
  ///   - gradients: whether a backward pass follows, for which rows carry one number more.
  public init(
    of problem: ShardedDilatedAttention, placement: Placement, gradients: Bool,
    on world: borrowing Communicator
  ) throws(MPIError) {
    let plan = DilatedPlan(problem, placement: placement)
    let tasks = plan.tasks[world.rank]
    families = plan.families.count
    let own = [
      tasks.reduce(0) { $0 + $1.segments.count }, plan.pairs(rank: world.rank),
      plan.bytesSent(
        by: world.rank, outward: plan.forwardOutward,
        homeward: plan.forwardHomeward(withRemainder: gradients)),
      plan.bytesSent(
        by: world.rank, outward: plan.backwardOutward, homeward: plan.backwardHomeward),
    ]
    let branches = Set(tasks.map { plan.families[$0.family].branchIndex }).sorted()
    let numbers = try world.allGather(own + branches)
    shares = numbers.map {
      Share(
        branches: Array($0[4...]), segments: $0[0], pairs: $0[1], bytesSent: $0[2],
        backwardBytesSent: $0[3])
    }
  }
}
