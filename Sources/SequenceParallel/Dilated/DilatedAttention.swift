public import Attention
public import MPI
import Sharding
public import Tensors

/// Dilated attention over a sequence that is sharded among ranks: LongNet.
///
/// Rows of queries, keys and values go from the ranks that hold them to those that compute on them,
/// in rounds, and outputs come home and are merged. What is computed where is the ``Placement``; the
/// answer does not depend on it.
///
/// Memory is O(shard), and the rows of two rounds; with ``Placement/sequence`` a rank also holds its
/// queries of one segment, with the others those of one task.
///
/// Source: Ding et al. 2023, LongNet: Scaling Transformers to 1,000,000,000 Tokens.
public struct DilatedAttention: ~Copyable {
  /// What is computed, over a ``DilatedPattern``.
  public let problem: ShardedAttention
  /// Where it is computed.
  public let placement: Placement
  /// Where the time of the last pass went.
  public private(set) var timing = Timing()

  private let plan: DilatedPlan
  private let rounds: DilatedRounds
  private let memory = ReusedMemory()
  private let rank: Int
  private let options: Options
  /// For each task, the outputs of this rank's queries in its branch alone, if they are needed.
  private var branchOutputs: [DilatedTask: [Float]]?

  /// How a computation runs, apart from what it computes.
  public struct Options {
    /// The threads of this rank.
    public var team = ThreadTeam(threads: 1)
    /// Whether a backward pass follows.
    public var gradients = false
    /// How the gradient sees the weights of branches.
    public var branchWeightsGradient = BranchWeightsGradient.exact
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
  /// - Precondition: the problem's pattern is a ``DilatedPattern``, queries and keys are sharded
  ///   alike, it has no score rule, and it is computed in `Float` by ``Accumulation/fast``.
  public init(
    _ problem: ShardedAttention, placement: Placement, options: Options = Options(),
    on world: borrowing Communicator
  ) throws(MPIError) {
    precondition(
      problem.wire == .f32 && problem.accumulation == .fast && world.size == problem.ranks,
      "rows travel as Float, and are added as they come")
    precondition(problem.scoreRule == nil, "dilated attention has no score rule")
    self.problem = problem
    self.placement = placement
    self.options = options
    rank = world.rank
    plan = DilatedPlan(problem, placement: placement)
    rounds = try DilatedRounds(
      plan, roundBytes: options.roundBytes, overlaps: options.overlaps, timeline: options.timeline,
      memory: memory, on: world)
  }

  /// The (query, key) pairs that this rank computes, over all heads and sequences; one that several
  /// branches share counts in each.
  public var pairs: Int { plan.pairs(rank: rank) }

  /// The point-to-point messages of this rank so far.
  public var traffic: Traffic { rounds.traffic }

  /// The bytes that the tensors of a rank take at most, without the queries of a single segment that
  /// it computes for others.
  ///
  /// These are queries, keys, values and outputs, with gradients as much again and the queries'
  /// side once more, and six rounds of rows.
  public static func residentBytes(
    _ problem: ShardedAttention, rank: Int, gradients: Bool, roundBytes: Int = Options().roundBytes
  ) -> Double {
    let shape = problem.shape
    let columns = Double(shape.headDim + shape.valueHeadDim)
    let row = Double(shape.queryHeads) * (columns + 3) + Double(shape.kvHeads) * columns
    let tokens = Double(shape.batch * problem.queries.tokenCount(of: rank))
    return tokens * row * 4 * (gradients ? 3 : 1) + 6 * Double(roundBytes)
  }

  /// The forward pass, called by all ranks together.
  ///
  /// - Parameters:
  ///   - queries: those of this rank, `[batch, tokens, queryHeads, headDim]`.
  ///   - keys: of this rank, `[batch, tokens, kvHeads, headDim]`.
  ///   - values: of this rank, `[batch, tokens, kvHeads, valueHeadDim]`.
  ///   - progress: called between tiles with the scores that this rank's first thread has computed
  ///     since the last call.
  /// - Returns: this rank's outputs and log-sum-exps; 0 and −∞ where no branch selects a query.
  /// - Throws: `MPIError` if a transfer fails.
  public mutating func forward(
    _ queries: borrowing QueryShard, keys: borrowing Tensor<Float>,
    values: borrowing Tensor<Float>, progress: (_ scores: Int) -> Void = { _ in }
  ) throws(MPIError) -> AttentionOutput {
    let isDetached = options.gradients && options.branchWeightsGradient == .detached
    let pass = DilatedForwardPass(
      plan, rank: rank, scale: problem.scale, q: queries.tensor, k: keys, v: values,
      sendsRemainder: options.gradients, keepsBranchOutputs: isDetached, team: options.team,
      memory: memory)
    timing = try rounds.run(pass, progress: progress)
    branchOutputs = isDetached ? pass.branchOutputs : nil
    return pass.finish()
  }

  /// The backward pass of the same queries, keys and values, called by all ranks together.
  ///
  /// - Parameters:
  ///   - queries: those of the forward pass.
  ///   - keys: likewise.
  ///   - values: likewise.
  ///   - output: what it gave.
  ///   - outputGradient: `do`, of the shape of `o`.
  ///   - progress: as in the forward pass.
  /// - Returns: the gradients of this rank's queries, keys and values.
  /// - Precondition: ``Options/gradients`` is set.
  /// - Throws: `MPIError` if a transfer fails.
  public mutating func backward(
    _ queries: borrowing QueryShard, keys: borrowing Tensor<Float>,
    values: borrowing Tensor<Float>, output: borrowing AttentionOutput,
    outputGradient: borrowing Tensor<Float>, progress: (_ scores: Int) -> Void = { _ in }
  ) throws(MPIError) -> AttentionGradients {
    precondition(options.gradients, "the forward pass was told of no backward pass")
    let start = ContinuousClock.now
    let queryMemory = AlignedBuffer<UInt8>(
      zeros: QueryBlock.byteCount(
        tokens: queries.tokens, shape: problem.shape, pass: .backward))
    var block = unsafe QueryBlock(
      shape: problem.shape, runs: queries.runs, pass: .backward,
      memory: queryMemory.unsafeMutableBytes)
    block.load(queries, output: output, outputGradient: outputGradient)
    let prepared = ContinuousClock.now - start
    let pass = DilatedBackwardPass(
      plan, rank: rank, scale: problem.scale, block: block, k: keys, v: values,
      branchOutputs: branchOutputs, team: options.team, memory: memory)
    timing = try rounds.run(pass, progress: progress)
    timing.computing += prepared
    withExtendedLifetime(queryMemory) {}
    return pass.finish()
  }
}

/// How gradients see the weights by which the outputs of branches are merged.
public enum BranchWeightsGradient: Hashable, Sendable {
  /// As what they are: functions of the scores. The result is the gradient.
  case exact
  /// As constants, as in torchscale; not a gradient of anything, but what published models were
  /// trained with.
  case detached
}
