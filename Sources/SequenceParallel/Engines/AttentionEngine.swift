import Attention
import MPI
import Tensors

/// What a ``DistributedAttention`` runs on: a way to bring queries and keys together.
///
/// All its functions but ``traffic``, ``timing`` and ``packOwnBlock(_:)`` are called by all ranks
/// together.
protocol AttentionEngine: AnyObject {
  /// The messages of this rank so far.
  var traffic: Traffic { get }

  /// Where the time of the last pass went.
  var timing: Timing { get }

  /// Gives this rank's own block to be packed; it stays packed for any number of passes.
  func packOwnBlock(_ body: (inout KeyValueBlock) throws -> Void) rethrows

  /// The forward pass of this rank's queries.
  func forward(
    _ queries: borrowing QueryShard, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> AttentionOutput

  /// The backward pass of the same queries, keys and values.
  func backward(
    _ queries: borrowing QueryShard, output: borrowing AttentionOutput,
    outputGradient: borrowing Tensor<Float>, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> AttentionGradients

  /// Gives shared memory and communicators back.
  func close() throws(MPIError)
}
