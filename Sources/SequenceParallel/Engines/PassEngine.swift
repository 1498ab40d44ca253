import Attention
import MPI
import Tensors

/// A way to bring queries and keys of ranks that have the same heads together: what travels, on a
/// stream.
///
/// All its functions but ``traffic``, ``timing`` and ``ownGradients(_:)`` are called by all ranks
/// together.
protocol PassEngine: AnyObject {
  /// The messages of this rank so far.
  var traffic: Traffic { get }

  /// Where the time of the last pass went.
  var timing: Timing { get }

  /// The forward pass of this rank's queries.
  func forward(
    _ queries: borrowing QueryShard, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> AttentionOutput

  /// The backward pass, which leaves what it finds out about this rank's keys in
  /// ``ownGradients(_:)``.
  ///
  /// - Returns: `dq`.
  func queryGradients(
    _ queries: borrowing QueryShard, output: borrowing AttentionOutput,
    outputGradient: borrowing Tensor<Float>, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> Tensor<Float>

  /// The gradients of this rank's keys and values after a backward pass, until the next one; they
  /// lie in the engine's memory, by parcels.
  ///
  /// - Parameter body: is given each parcel, with the indices of its keys in the shard.
  func ownGradients(_ body: (_ keys: Range<Int>, borrowing KeyValueGradient) -> Void)

  /// Gives shared memory and communicators back.
  func close() throws(MPIError)
}
