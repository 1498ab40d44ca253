public import Attention
public import MPI
public import Tensors

/// Attention that ranks compute together, in whatever way: keys and values are packed once, and
/// then there are any number of passes.
///
/// All functions but ``pack(keys:values:)`` and ``load(keys:values:)`` are called by all ranks
/// together.
public protocol AttentionOperator: ~Copyable {
  /// What is computed.
  associatedtype Problem: ShardedProblem

  /// What is computed.
  var problem: Problem { get }

  /// The (query, key) pairs that this rank computes in a pass, over all its heads and sequences.
  var pairs: Int { get }

  /// Where the time of the last pass went.
  var timing: Timing { get }

  /// The point-to-point messages of this rank so far.
  var traffic: Traffic { get }

  /// Takes this rank's own keys and values, for any number of passes.
  ///
  /// - Parameters:
  ///   - keys: `[batch, keys of the shard, kvHeads, headDim]`, in the order of its runs.
  ///   - values: `[batch, keys of the shard, kvHeads, valueHeadDim]`.
  mutating func pack(keys: borrowing Tensor<Float>, values: borrowing Tensor<Float>)

  /// Reads this rank's own keys and values, for any number of passes.
  ///
  /// - Parameters:
  ///   - keys: `[batch, keyTokens, kvHeads, headDim]`.
  ///   - values: `[batch, keyTokens, kvHeads, valueHeadDim]`.
  /// - Throws: what a source throws, and ``WireRangeError``.
  mutating func load(keys: some TokenRows, values: some TokenRows) throws

  /// The forward pass.
  ///
  /// - Parameters:
  ///   - queries: those of this rank, `[batch, tokens, queryHeads, headDim]`.
  ///   - progress: called between tiles with the scores that this rank's first thread has computed
  ///     since the last call.
  /// - Returns: this rank's outputs and log-sum-exps.
  /// - Throws: `MPIError` if a transfer fails.
  mutating func forward(
    _ queries: borrowing QueryShard, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> AttentionOutput

  /// The backward pass of the same queries, keys and values.
  ///
  /// - Parameters:
  ///   - queries: those of the forward pass.
  ///   - output: what it gave.
  ///   - outputGradient: `do`, of the shape of `o`.
  ///   - progress: as in the forward pass.
  /// - Returns: the gradients of this rank's queries, keys and values.
  /// - Throws: `MPIError` if a transfer fails.
  mutating func backward(
    _ queries: borrowing QueryShard, output: borrowing AttentionOutput,
    outputGradient: borrowing Tensor<Float>, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> AttentionGradients

  /// Gives back what the ranks share.
  consuming func close() throws(MPIError)
}

extension DistributedAttention: AttentionOperator {
  /// The (query, key) pairs that this rank computes in a pass, over all its heads and sequences.
  public var pairs: Int { problem.computedPairs(rank: rank, route: route) }

  /// Reads and packs this rank's own keys and values, piece by piece.
  ///
  /// - Parameters:
  ///   - keys: `[batch, keyTokens, kvHeads, headDim]`.
  ///   - values: `[batch, keyTokens, kvHeads, valueHeadDim]`.
  /// - Throws: what a source throws, and ``WireRangeError``.
  public mutating func load(keys: some TokenRows, values: some TokenRows) throws {
    let (problem, rank, team) = (problem, rank, team)
    try withOwnBlock {
      try problem.load(keys: keys, values: values, rank: rank, into: &$0, team: team)
    }
  }
}
