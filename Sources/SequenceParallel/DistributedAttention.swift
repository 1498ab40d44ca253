public import Attention
public import MPI
import Sharding
public import Tensors

/// Exact attention over a sequence that is sharded among ranks, forward and backward.
///
/// ```swift
/// let problem = ShardedAttention(shape: shape, queries: shards, keys: shards, pattern: CausalPattern())
/// var attention = try DistributedAttention(problem, transport: .ring, on: world)
/// attention.pack(keys: k, values: v)                 // this rank's own rows
/// let output = try attention.forward(q)
/// let gradients = try attention.backward(q, output: output, outputGradient: dO)
/// ```
///
/// Memory is O(shard): the rank's queries and outputs, its block, and two more blocks that travel;
/// only ``Transport/allgather`` holds the blocks of all.
public struct DistributedAttention: ~Copyable {
  /// What is computed.
  public let problem: ShardedAttention
  /// How blocks move.
  public let transport: Transport
  /// The threads of this rank.
  public let team: ThreadTeam

  /// Where the time of the last pass went.
  public private(set) var timing = Timing()

  private let stream: any BlockStream
  private let rank: Int

  /// How a computation runs, apart from what it computes.
  public struct Options {
    /// The threads of this rank.
    public var team = ThreadTeam(threads: 1)
    /// Which ranks share memory; nil finds out.
    public var topology: Topology?
    /// False ends all transfers before computing, which shows what overlap is worth.
    public var overlaps = true
    /// Where spans are noted.
    public var timeline: Timeline?

    /// The defaults.
    public init() {}
  }

  /// Connects the ranks, called by all of them together.
  ///
  /// - Throws: `MPIError`, and ``TransportError`` on all ranks if the transport cannot serve them.
  public init(
    _ problem: ShardedAttention, transport: Transport, options: Options = Options(),
    on world: borrowing Communicator
  ) throws {
    precondition(world.size == problem.ranks, "as many ranks as shards")
    self.problem = problem
    self.transport = transport
    team = options.team
    rank = world.rank
    let sizes = problem.blockBytes
    if transport == .allgather {
      stream = try DirectStream(
        ranks: world.size, sees: problem.sees, sizes: sizes, overlaps: options.overlaps,
        timeline: options.timeline, on: world)
      return
    }
    let groups = try transport.groups(
      options.topology ?? Topology(of: world), ranks: world.size)
    stream = try RotatingStream(
      schedule: RingSchedule(groups: groups, sees: problem.sees), sizes: sizes,
      overlaps: options.overlaps, timeline: options.timeline, on: world)
  }

  /// The point-to-point messages of this rank so far.
  public var traffic: Traffic { stream.traffic }

  /// Gives shared memory and communicators back, called by all ranks together.
  ///
  /// What is not given back so is when MPI ends.
  public consuming func close() throws(MPIError) {
    try stream.close()
  }

  // MARK: Keys and values

  /// This rank's own keys and values, to be packed before ``forward(_:progress:)``.
  ///
  /// - Parameter body: is given the block; it stays packed for any number of passes.
  public mutating func withOwnBlock<R>(_ body: (inout KeyValueBlock) throws -> R) rethrows -> R {
    var block = unsafe problem.block(of: rank, at: stream.ownBlock)
    return try body(&block)
  }

  /// Packs this rank's own keys and values.
  ///
  /// - Parameters:
  ///   - keys: `[batch, keys of the shard, kvHeads, headDim]`, in the order of its runs.
  ///   - values: `[batch, keys of the shard, kvHeads, valueHeadDim]`.
  public mutating func pack(keys: borrowing Tensor<Float>, values: borrowing Tensor<Float>) {
    var block = unsafe problem.block(of: rank, at: stream.ownBlock)
    block.pack(keys: keys, values: values)
  }

  // MARK: Passes

  /// The forward pass, called by all ranks together.
  ///
  /// `2 · (headDim + valueHeadDim)` flops a visible pair of this rank's queries. With
  /// ``Transport/ring`` each rank sends `(P − 1) · n · kvHeads · (headDim + valueHeadDim)` elements
  /// of the wire type a batch, for shards of `n` keys, with two scales a key and head where it is
  /// int8, or less where blocks are of no use.
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
    var accumulator = ForwardAccumulator(
      shape: problem.shape, tokens: queries.tokens, scale: problem.scale,
      pattern: problem.pattern, accumulation: problem.accumulation, team: team)
    timing = try stream.run(results: nil) { visit, poll in
      let block = unsafe problem.block(of: visit.owner, at: visit.block)
      accumulator.attend(queries, to: block) { scores in
        progress(scores)
        poll()
      }
    }
    let start = ContinuousClock.now
    let output = accumulator.finish()
    timing.computing += ContinuousClock.now - start
    return output
  }

  /// The backward pass of the same queries, keys and values, called by all ranks together.
  ///
  /// `10 · headDim` flops a visible pair where both head dims are equal. Keys and values travel as
  /// in the forward pass, and their gradients follow them in `Float`, as many hops: one fewer than
  /// if owners sent away what they find out about their own blocks.
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
    try stream.reserveResults(
      problem.keys.shards.indices.map {
        KeyValueGradient.byteCount(
          keys: problem.keys.tokenCount(of: $0), shape: problem.shape,
          accumulation: problem.accumulation)
      })
    var accumulator = BackwardAccumulator(
      shape: problem.shape, output: output, outputGradient: outputGradient, scale: problem.scale,
      pattern: problem.pattern, accumulation: problem.accumulation, team: team)
    let prepared = ContinuousClock.now - start
    timing = try stream.run(results: problem.gradientSums) { visit, poll in
      let block = unsafe problem.block(of: visit.owner, at: visit.block)
      var gradient = unsafe problem.gradient(of: visit.owner, at: visit.result)
      accumulator.attend(
        queries, outputGradient: outputGradient, to: block, addingTo: &gradient, part: visit.part
      ) { scores in
        progress(scores)
        poll()
      }
    }
    timing.computing += prepared
    let own = unsafe problem.gradient(of: rank, at: stream.ownResult)
    return AttentionGradients(dq: accumulator.finish(), dk: own.dk(), dv: own.dv())
  }
}

/// The gradients of a rank's own queries, keys and values.
///
/// Frozen, so that other modules can take the tensors out without a copy.
@frozen
public struct AttentionGradients: ~Copyable {
  /// `[batch, tokens, queryHeads, headDim]`.
  public let dq: Tensor<Float>
  /// `[batch, keys, kvHeads, headDim]`, keys in the order of the shard's runs.
  public let dk: Tensor<Float>
  /// `[batch, keys, kvHeads, valueHeadDim]`.
  public let dv: Tensor<Float>

  /// Takes the three tensors.
  public init(
    dq: consuming Tensor<Float>, dk: consuming Tensor<Float>, dv: consuming Tensor<Float>
  ) {
    self.dq = dq
    self.dk = dk
    self.dv = dv
  }
}

/// Blocks and gradients as they lie in the memory of a stream, which outlives them.
extension ShardedAttention {
  @unsafe
  fileprivate func block(
    of owner: Int, at memory: UnsafeMutableRawBufferPointer
  ) -> KeyValueBlock {
    unsafe KeyValueBlock(
      shape: shape, elementType: wire, runs: keys.shards[owner], memory: memory)
  }

  @unsafe
  fileprivate func gradient(
    of owner: Int, at memory: UnsafeMutableRawBufferPointer
  ) -> KeyValueGradient {
    unsafe KeyValueGradient(
      shape: shape, keys: keys.tokenCount(of: owner), memory: memory, accumulation: accumulation)
  }

  fileprivate var gradientSums: ResultOperations {
    unsafe ResultOperations(
      clear: { owner, memory in
        var gradient = unsafe gradient(of: owner, at: memory)
        gradient.clear()
      },
      add: { owner, memory, other in
        var gradient = unsafe gradient(of: owner, at: memory)
        unsafe gradient.add(self.gradient(of: owner, at: other))
      })
  }
}
