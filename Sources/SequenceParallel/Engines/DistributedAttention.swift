public import Attention
public import MPI
import Sharding
public import Tensors

/// Exact attention over a sequence that is sharded among ranks, forward and backward.
///
/// ```swift
/// let problem = ShardedAttention(
///   shape: shape, queries: shards, keys: shards, pattern: CausalPattern())
/// var attention = try DistributedAttention(problem, route: .ring, on: world)
/// attention.pack(keys: k, values: v)                 // this rank's own rows
/// let output = try attention.forward(q)
/// let gradients = try attention.backward(q, output: output, outputGradient: dO)
/// ```
///
/// Memory is O(shard): the rank's queries and outputs, its block, and two more blocks that travel;
/// `Route.heads` has as much again for its share of the heads, and only ``Route/allgather`` holds
/// the blocks of all.
public struct DistributedAttention: ~Copyable {
  /// What is computed.
  public let problem: ShardedAttention
  /// What travels where in the forward pass.
  public let route: Route
  /// What travels where in the backward pass, and why.
  public let backwardDecision: BackwardDecision
  /// This rank.
  let rank: Int
  private let engine: any AttentionEngine
  let team: ThreadTeam
  /// Where gradients of learned sinks are added up; nil if there are none.
  private let reduction: Communicator?

  /// How a computation runs, apart from what it computes.
  public struct Options {
    /// The threads of this rank.
    public var team = ThreadTeam(threads: 1)
    /// Which ranks share memory; nil finds out.
    public var topology: Topology?
    /// False ends all transfers before computing, which shows what overlap is worth.
    public var overlaps = true
    /// What is done at all; for the package's own benchmarks, since the results of anything but
    /// ``Part/all`` are wrong on purpose.
    package var part = Part.all
    /// What is asked of the backward pass.
    public var backwardRoute = BackwardRoute.automatic
    /// Where spans are noted.
    public var timeline: Timeline?

    /// The defaults.
    public init() {}
  }

  /// What of a pass is done, to find out what takes how long.
  package enum Part: Hashable, Sendable {
    case all
    /// Every rank computes what it would, on its own memory in place of others' blocks.
    case computing
    /// Blocks and results travel as they would, and nobody computes.
    case transfers
  }

  /// Connects the ranks, called by all of them together.
  ///
  /// - Parameter route: of the forward pass.
  /// - Throws: `MPIError`, and ``RouteError`` on all ranks if the route cannot serve them.
  public init(
    _ problem: ShardedAttention, route: Route, options: Options = Options(),
    on world: borrowing Communicator
  ) throws {
    precondition(world.size == problem.ranks, "as many ranks as shards")
    let topology = try options.topology ?? Topology(of: world)
    try route.check(ranks: world.size, topology: topology, backward: options.backwardRoute)
    if options.part != .all, !route.hasParts(ranks: world.size) {
      throw RouteError(
        "Where ranks share heads, computing and transfers cannot be taken apart; choose another "
          + "transport.")
    }
    let planner = RoutePlanner(problem, topology: topology)
    let decision = planner.backwardDecision(options.backwardRoute, after: route)
    let grid = try route.grid(ranks: world.size)
    let reduction: Communicator? = try problem.sinks == nil ? nil : world.duplicate()
    engine =
      grid.columns == 1
      ? try RoutedAttention(
        planner, forward: route, backward: decision.route, options: options, on: world)
      : try HeadExchange(
        planner, grid: grid, forward: route, backward: decision.route, options: options, on: world)
    team = options.team
    self.reduction = reduction
    self.problem = problem
    self.route = route
    rank = world.rank
    backwardDecision = decision
  }

  /// The point-to-point messages of this rank so far.
  public var traffic: Traffic { engine.traffic }

  /// Where the time of the last pass went.
  public var timing: Timing { engine.timing }

  /// Gives shared memory and communicators back, called by all ranks together.
  ///
  /// What is not given back so is when MPI ends.
  public consuming func close() throws(MPIError) {
    try engine.close()
  }

  // MARK: Keys and values

  /// This rank's own keys and values, to be packed before ``forward(_:progress:)``.
  ///
  /// - Parameter body: is given the block; it stays packed for any number of passes.
  public mutating func withOwnBlock(_ body: (inout KeyValueBlock) throws -> Void) rethrows {
    try engine.packOwnBlock(body)
  }

  /// Packs this rank's own keys and values.
  ///
  /// - Parameters:
  ///   - keys: `[batch, keys of the shard, kvHeads, headDim]`, in the order of its runs.
  ///   - values: `[batch, keys of the shard, kvHeads, valueHeadDim]`.
  public mutating func pack(keys: borrowing Tensor<Float>, values: borrowing Tensor<Float>) {
    let team = team
    withOwnBlock { $0.pack(keys: keys, values: values, team: team) }
  }

  // MARK: Passes

  /// The forward pass, called by all ranks together.
  ///
  /// `2 · (headDim + valueHeadDim)` flops a visible pair of this rank's queries. With
  /// ``Route/ring`` each rank sends `(P − 1) · n · kvHeads · (headDim + valueHeadDim)` elements
  /// of the wire type a batch, for shards of `n` keys, with two scales a key and head where it is
  /// int8, or less where blocks are of no use. With `Route.heads` it sends (P − 1)/P of its
  /// block and of its `4 · n · queryHeads · (headDim + valueHeadDim + 2)` bytes of queries and
  /// outputs.
  ///
  /// - Parameters:
  ///   - queries: this rank's queries, `[batch, tokens, queryHeads, headDim]`.
  ///   - progress: called between tiles with the scores that this rank's first thread has computed
  ///     since the last call.
  /// - Returns: this rank's outputs and log-sum-exps.
  /// - Throws: `MPIError` if a transfer fails.
  public mutating func forward(
    _ queries: borrowing QueryShard, progress: (_ scores: Int) -> Void = { _ in }
  ) throws(MPIError) -> AttentionOutput {
    let output = try engine.forward(queries, progress: progress)
    guard let sinks = problem.sinks else { return output }
    // Once a row, over all blocks, whatever has travelled.
    return sinks.applied(to: output, team: team)
  }

  /// The backward pass of the same queries, keys and values, called by all ranks together.
  ///
  /// `10 · headDim` flops a visible pair where both head dims are equal. Keys and values travel as
  /// in the forward pass, or queries do, as ``backwardDecision`` says; their gradients follow them
  /// in `Float`, as many hops: one fewer than if owners sent away what they find out about their
  /// own blocks.
  ///
  /// - Parameters:
  ///   - queries: those of the forward pass.
  ///   - output: what it gave.
  ///   - outputGradient: `do`, of the shape of `o`.
  ///   - progress: as in the forward pass.
  /// - Returns: the gradients of this rank's queries, keys and values.
  /// - Throws: `MPIError` if a transfer fails.
  public mutating func backward(
    _ queries: borrowing QueryShard, output: borrowing AttentionOutput,
    outputGradient: borrowing Tensor<Float>, progress: (_ scores: Int) -> Void = { _ in }
  ) throws(MPIError) -> AttentionGradients {
    var gradients = try engine.backward(
      queries, output: output, outputGradient: outputGradient, progress: progress)
    if let sinks = problem.sinks {
      let own = sinks.gradientSums(
        output, outputGradient: outputGradient, runs: queries.runs, team: team)
      switch reduction {
      case .some(let ranks): gradients.dsinks = sinks.gradient(merging: try ranks.allGather(own))
      case .none: preconditionFailure("there are sinks, and so there is a way to add them up")
      }
    }
    return gradients
  }
}
