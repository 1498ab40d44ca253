import Attention
import MPI
import SequenceParallel

/// The distributed attention of the layers that see alike, for one layer after the other; a
/// reference, since there are several and an array holds no values without copies.
final class LayerAttention {
  private var attention: DistributedAttention?

  init(_ attention: consuming DistributedAttention) {
    self.attention = consume attention
  }

  /// Packs this rank's own keys and values.
  func pack(_ body: (inout KeyValueBlock) -> Void) {
    guard var attention = attention.take() else { preconditionFailure("it was given back") }
    attention.withOwnBlock(body)
    self.attention = consume attention
  }

  /// The forward pass, called by all ranks together.
  func forward(
    _ queries: borrowing QueryShard, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> AttentionOutput {
    guard var attention = attention.take() else { preconditionFailure("it was given back") }
    let output = try attention.forward(queries, progress: progress)
    self.attention = consume attention
    return output
  }

  /// Bytes that this rank has sent.
  var bytesSent: Int {
    guard let attention = attention.take() else { return 0 }
    let bytes = attention.traffic.bytesSent
    self.attention = consume attention
    return bytes
  }

  /// Gives back what the ranks share, called by all of them together.
  func close() throws(MPIError) {
    if let attention = attention.take() { try attention.close() }
  }
}
