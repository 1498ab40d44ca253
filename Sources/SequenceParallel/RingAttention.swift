public import Attention
public import MPI
public import Sharding
import Tensors

/// Exact attention over a sequence that is sharded among the ranks of a communicator.
///
/// `o_i = Σ_j softmax_j(scale · q_i·k_j + bias_ij) v_j` over all keys of all ranks. Every rank keeps
/// its queries and accumulates; blocks of keys and values pass round the ring, `P − 1` hops at most.
///
/// Source: Liu, Zaharia, Abbeel 2023, Ring Attention with Blockwise Transformers, Algorithm 1.
public struct RingAttention: Sendable {
  /// The dimensions of the problem, on every rank the same.
  public let shape: AttentionShape
  /// Which rank holds which queries.
  public let queries: Sharding
  /// Which rank owns which keys and values.
  public let keys: Sharding
  /// What a query sees.
  public let pattern: any AttentionPattern
  /// Multiplies `q·k`.
  public let scale: Double
  /// The type in which keys and values travel.
  public let wire: WireType
  /// The threads of this rank.
  public let team: ThreadTeam

  /// Describes the problem.
  ///
  /// All ranks must give the same values, except for `team`.
  ///
  /// - Parameters:
  ///   - scale: multiplies `q·k`; nil is 1/√headDim.
  ///   - wire: the type in which keys and values travel and are held; queries, scores and
  ///     accumulators are `Float` always.
  public init(
    shape: AttentionShape, queries: Sharding, keys: Sharding, pattern: any AttentionPattern,
    scale: Double? = nil, wire: WireType = .f32, team: ThreadTeam = ThreadTeam(threads: 1)
  ) {
    precondition(queries.ranks == keys.ranks, "queries and keys are sharded among the same ranks")
    self.shape = shape
    self.queries = queries
    self.keys = keys
    self.pattern = pattern
    self.scale = scale ?? 1 / Double(shape.headDim).squareRoot()
    self.wire = wire
    self.team = team
  }

  /// What ``forward(_:_:on:progress:)`` gives on each rank.
  public struct ForwardResult: ~Copyable {
    /// Output and log-sum-exp of the rank's own queries.
    public let output: AttentionOutput
    /// Where the rank's time went.
    public let timing: Timing
  }

  /// Where the time of one rank went.
  public struct Timing: Hashable, Sendable {
    /// Time in the kernels, with the polling between tiles.
    public var computing: Duration = .zero
    /// Time in which the rank had nothing to compute because a transfer had not ended.
    public var waiting: Duration = .zero
  }

  /// An empty block for a rank's own keys and values, to be packed and given to
  /// ``forward(_:_:on:progress:)``.
  public func makeBlock(rank: Int) -> KeyValueBlock {
    KeyValueBlock(
      shape: shape, elementType: wire, runs: keys.shards[rank], capacity: keys.largestTokenCount)
  }

  /// The forward pass, called by all ranks of the communicator together.
  ///
  /// Each rank sends at most `(P − 1) · n · kvHeads · (headDim + valueHeadDim)` elements of the wire
  /// type a batch, for shards of `n` keys, with two scales a key and head where it is int8, in messages of ``Communicator/defaultChunkBytes``;
  /// computes `2 · (headDim + valueHeadDim)` flops a visible pair of its queries; and holds two
  /// blocks, its queries, outputs and log-sum-exps.
  ///
  /// - Parameters:
  ///   - queryShard: this rank's queries, `[batch, tokens, queryHeads, headDim]`.
  ///   - block: this rank's keys and values, packed; see ``makeBlock(rank:)``.
  ///   - ring: a communicator of as many ranks as the shardings have, for the ring alone (duplicate
  ///     one to have it).
  ///   - progress: called between tiles with the scores computed since the last call, by this
  ///     rank's first thread.
  /// - Throws: `MPIError` if a transfer fails.
  public func forward(
    _ queryShard: borrowing QueryShard, _ block: consuming KeyValueBlock,
    on ring: borrowing Communicator, progress: (_ scores: Int) -> Void = { _ in }
  ) throws(MPIError) -> ForwardResult {
    precondition(ring.size == queries.ranks, "as many ranks as shards")
    let schedule = RingSchedule(
      rank: ring.rank, queries: queries.shards, keys: keys.shards, pattern: pattern)
    let next = (ring.rank + 1) % ring.size
    let previous = (ring.rank - 1 + ring.size) % ring.size
    let clock = ContinuousClock()
    var timing = Timing()

    var accumulator = ForwardAccumulator(
      shape: shape, tokens: queryShard.tokens, scale: scale, pattern: pattern, team: team)
    var current = block
    var spare = KeyValueBlock(
      shape: shape, elementType: wire, runs: [],
      capacity: schedule.steps.contains { $0.receives } ? keys.largestTokenCount : 0)

    for step in schedule.steps {
      // The receive is posted before the send, so that no block arrives unexpected. A block that
      // is not wanted any more has no bytes, and no bytes are no message.
      spare.replaceRuns(step.receives ? keys.shards[previousOwner(of: step)] : [])
      let incoming = ring.receive(into: spare, from: previous, tag: 0)
      let outgoing = try ring.send(
        current, to: next, tag: 0, byteCount: step.sends ? nil : 0)

      let start = clock.now
      if step.computes {
        var failure: MPIError?
        accumulator.attend(queryShard, to: outgoing.buffer) { scores in
          progress(scores)
          do throws(MPIError) {
            _ = try incoming.test()
            _ = try outgoing.test()
          } catch { failure = failure ?? error }
        }
        if let failure { throw failure }
      }
      let computed = clock.now
      spare = try outgoing.wait()
      current = try incoming.wait()
      timing.computing += computed - start
      timing.waiting += clock.now - computed
    }

    let start = clock.now
    let output = accumulator.finish()
    timing.computing += clock.now - start
    return ForwardResult(output: output, timing: timing)
  }

  /// The owner of the block that comes in while this step's block is in hand.
  private func previousOwner(of step: RingSchedule.Step) -> Int {
    (step.owner - 1 + keys.ranks) % keys.ranks
  }
}
