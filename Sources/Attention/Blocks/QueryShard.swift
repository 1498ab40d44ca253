import AttentionTypes
public import Tensors

/// The queries that a rank owns, with the global positions of their rows.
///
/// Frozen, so that other modules can take the tensor out without a copy.
@frozen
public struct QueryShard: ~Copyable {
  /// `[batch, tokens of the shard, queryHeads, headDim]`.
  public let tensor: Tensor<Float>

  /// The global positions of the tokens, in the order of the rows.
  public let runs: [PositionRange]

  /// Takes a tensor of queries.
  ///
  /// - Precondition: the tensor has four dimensions and as many tokens as `runs`.
  public init(_ tensor: consuming Tensor<Float>, runs: [PositionRange]) {
    precondition(
      tensor.shape.rank == 4 && tensor.shape[1] == runs.reduce(0) { $0 + $1.count },
      "queries \(tensor.shape) do not match their positions")
    self.tensor = tensor
    self.runs = runs
  }

  /// Tokens in the shard.
  public var tokens: Int { tensor.shape[1] }
}
