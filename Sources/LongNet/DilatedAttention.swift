public import Attention
public import MPI
public import SequenceParallel
import Sharding
public import Tensors

/// Dilated attention over a sequence that is sharded among ranks: LongNet.
///
/// ```swift
/// let problem = try ShardedDilatedAttention(
///   shape: shape, sharding: sharding, branches: branches, isCausal: true)
/// var attention = try DilatedAttention(problem, placement: .sequence, on: world)
/// attention.pack(keys: k, values: v)                 // this rank's own rows
/// let output = try attention.forward(q)
/// let gradients = try attention.backward(q, output: output, outputGradient: dO)
/// ```
///
/// Rows of queries, keys and values go from the ranks that hold them to those that compute on them,
/// in rounds, and outputs come home and are merged. What is computed where is the ``Placement``;
/// the answer does not depend on it.
///
/// Memory is O(shard), and the rows of two rounds; with ``Placement/sequence`` a rank also holds
/// its queries of one segment, with the others those of one task.
///
/// Source: Ding et al. 2023, LongNet: Scaling Transformers to 1,000,000,000 Tokens.
public struct DilatedAttention: ~Copyable, AttentionOperator {
  /// What is computed.
  public let problem: ShardedDilatedAttention
  /// Where it is computed.
  public let placement: Placement
  /// Where the time of the last pass went.
  public private(set) var timing = Timing()

  private let plan: DilatedPlan
  private let rounds: DilatedRounds
  private let memory: ReusedMemory
  private let rank: Int
  private let options: Options
  /// Where gradients of learned sinks are added up; nil if there are none.
  private let reduction: Communicator?
  /// This rank's own, `[batch, tokens of the shard, kvHeads, headDim]`.
  private var keys: Tensor<Float>
  /// This rank's own, `[batch, tokens of the shard, kvHeads, valueHeadDim]`.
  private var values: Tensor<Float>
  /// For each task, the outputs of this rank's queries in its branch alone, if they are needed.
  private var branchOutputs: [DilatedTask: [Float]]?

  /// How a computation runs, apart from what it computes.
  public struct Options {
    /// The threads of this rank.
    public var team = ThreadTeam(threads: 1)
    /// How the gradient sees the weights of branches.
    public var branchWeightsGradient = BranchWeightsGradient.exact
    /// Whether a backward pass follows: false saves a number a row on the way home, what rounding
    /// takes from log-sum-exps, without which gradients would be a little less exact.
    public var gradients = true
    /// About as many bytes of rows has a rank in a round.
    public var roundBytes = 8 << 20
    /// False ends all transfers before computing.
    public var overlaps = true
    /// Where spans are noted.
    public var timeline: Timeline?

    /// The defaults.
    public init() {}
  }

  /// Connects the ranks, called by all of them together.
  ///
  /// - Precondition: there are as many ranks as shards.
  public init(
    _ problem: ShardedDilatedAttention, placement: Placement, options: Options = Options(),
    on world: borrowing Communicator
  ) throws(MPIError) {
    precondition(world.size == problem.ranks, "as many ranks as shards")
    let (plan, memory) = (DilatedPlan(problem, placement: placement), ReusedMemory())
    let rounds = try DilatedRounds(
      plan, roundBytes: options.roundBytes, overlaps: options.overlaps, timeline: options.timeline,
      memory: memory, on: world)
    let reduction: Communicator? = try problem.sinks == nil ? nil : world.duplicate()
    (self.plan, self.rounds, self.memory) = (plan, rounds, memory)
    self.reduction = reduction
    self.problem = problem
    self.placement = placement
    self.options = options
    rank = world.rank
    let (shape, tokens) = (problem.shape, problem.sharding.tokenCount(of: world.rank))
    keys = Tensor(zeros: [shape.batch, tokens, shape.kvHeads, shape.headDim])
    values = Tensor(zeros: [shape.batch, tokens, shape.kvHeads, shape.valueHeadDim])
  }

  /// The (query, key) pairs that this rank computes, over all heads and sequences; one that several
  /// branches share counts in each.
  public var pairs: Int { plan.pairs(rank: rank) }

  /// The point-to-point messages of this rank so far.
  public var traffic: Traffic { rounds.traffic }

  /// Gives the communicator back, called by all ranks together.
  ///
  /// What is not given back so is when MPI ends.
  public consuming func close() throws(MPIError) {}

  // MARK: Keys and values

  /// Takes this rank's own keys and values, for any number of passes.
  ///
  /// - Parameters:
  ///   - keys: `[batch, tokens of the shard, kvHeads, headDim]`, in the order of its runs.
  ///   - values: `[batch, tokens of the shard, kvHeads, valueHeadDim]`.
  public mutating func pack(keys: borrowing Tensor<Float>, values: borrowing Tensor<Float>) {
    precondition(
      keys.shape == self.keys.shape && values.shape == self.values.shape,
      "keys or values of another shard")
    let team = options.team
    var keyNumbers = self.keys.mutableSpan
    team.copy(keys.span, to: &keyNumbers)
    var valueNumbers = self.values.mutableSpan
    team.copy(values.span, to: &valueNumbers)
  }

  /// Reads this rank's own keys and values, for any number of passes.
  ///
  /// - Parameters:
  ///   - keys: `[batch, tokens, kvHeads, headDim]` of the whole sequence.
  ///   - values: `[batch, tokens, kvHeads, valueHeadDim]` of the whole sequence.
  /// - Throws: what a source throws.
  public mutating func load(keys: some TokenRows, values: some TokenRows) throws {
    let (runs, team) = (problem.sharding.shards[rank], options.team)
    var keyNumbers = self.keys.mutableSpan
    try keys.read(shard: runs, into: &keyNumbers, team: team)
    var valueNumbers = self.values.mutableSpan
    try values.read(shard: runs, into: &valueNumbers, team: team)
  }

  // MARK: Passes

  /// The forward pass, called by all ranks together.
  ///
  /// - Parameters:
  ///   - queries: those of this rank, `[batch, tokens, queryHeads, headDim]`.
  ///   - progress: called between tiles with the scores that this rank's first thread has computed
  ///     since the last call.
  /// - Returns: this rank's outputs and log-sum-exps; 0 and −∞ where no branch selects a query.
  /// - Throws: `MPIError` if a transfer fails.
  public mutating func forward(
    _ queries: borrowing QueryShard, progress: (_ scores: Int) -> Void = { _ in }
  ) throws(MPIError) -> AttentionOutput {
    let isDetached = options.branchWeightsGradient == .detached
    let pass = DilatedForwardPass(
      plan, rank: rank, scale: problem.scale, scoreRule: problem.scoreRule,
      arithmetic: problem.arithmetic, q: queries.tensor, k: keys, v: values,
      sendsRemainder: options.gradients, keepsBranchOutputs: isDetached,
      team: options.team, memory: memory)
    timing = try rounds.run(pass, progress: progress)
    branchOutputs = isDetached ? pass.branchOutputs : nil
    let output = pass.finish()
    guard let sinks = problem.sinks else { return output }
    // Once a row, over all branches.
    return sinks.applied(to: output, team: options.team)
  }

  /// The backward pass of the same queries, keys and values, called by all ranks together.
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
    let start = ContinuousClock.now
    let queryMemory = AlignedBuffer<UInt8>(
      zeros: QueryBlock.byteCount(
        tokens: queries.tokens, shape: problem.shape, pass: .backward))
    var block = unsafe QueryBlock(
      shape: problem.shape, runs: queries.runs, pass: .backward,
      memory: queryMemory.unsafeMutableBytes)
    block.load(
      queries, output: output, outputGradient: outputGradient, arithmetic: problem.arithmetic,
      team: options.team)
    let prepared = ContinuousClock.now - start
    let pass = DilatedBackwardPass(
      plan, rank: rank, scale: problem.scale, scoreRule: problem.scoreRule,
      arithmetic: problem.arithmetic, block: block, k: keys, v: values,
      branchOutputs: branchOutputs, team: options.team, memory: memory)
    timing = try rounds.run(pass, progress: progress)
    timing.computing += prepared
    withExtendedLifetime(queryMemory) {}
    var gradients = pass.finish()
    if let sinks = problem.sinks {
      let own = sinks.gradientSums(
        output, outputGradient: outputGradient, runs: queries.runs, team: options.team)
      switch reduction {
      case .some(let ranks): gradients.dsinks = sinks.gradient(merging: try ranks.allGather(own))
      case .none: preconditionFailure("there are sinks, and so there is a way to add them up")
      }
    }
    return gradients
  }
}
