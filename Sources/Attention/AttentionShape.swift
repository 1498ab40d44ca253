/// The dimensions that every rank of an attention problem shares.
///
/// Tensors at the border are row-major `[batch, tokens, heads, headDim]`. With grouped-query
/// attention, query head `h` reads KV head `⌊h / (queryHeads / kvHeads)⌋`.
public struct AttentionShape: Hashable, Sendable {
  /// Largest head dim that the kernels accept, for keys and for values.
  public static let largestHeadDim = 256

  /// Independent sequences.
  public let batch: Int
  /// Heads of `q` and `o`.
  public let queryHeads: Int
  /// Heads of `k` and `v`; divides ``queryHeads``.
  public let kvHeads: Int
  /// Columns of `q` and `k`.
  public let headDim: Int
  /// Columns of `v` and `o`.
  public let valueHeadDim: Int

  /// Query heads that read one KV head.
  public var groupSize: Int { queryHeads / kvHeads }

  /// Floating-point operations of the forward pass for one visible pair of one head: a
  /// multiply–add for each column of `q·k` and of `p·v`, 4·headDim where both dims are equal.
  public var forwardFlopsPerPair: Int { 2 * (headDim + valueHeadDim) }

  /// Floating-point operations of the backward pass for one visible pair of one head: scores and
  /// weights are computed again, and three products give the gradients; 10·headDim where both dims
  /// are equal.
  public var backwardFlopsPerPair: Int { 6 * headDim + 4 * valueHeadDim }

  /// Creates a shape.
  ///
  /// - Precondition: all are positive, head dims are at most ``largestHeadDim``, and `kvHeads`
  ///   divides `queryHeads`.
  public init(batch: Int, queryHeads: Int, kvHeads: Int, headDim: Int, valueHeadDim: Int) {
    precondition(batch > 0 && queryHeads > 0 && kvHeads > 0, "empty dimensions")
    precondition(queryHeads % kvHeads == 0, "kvHeads must divide queryHeads")
    precondition(
      (1...Self.largestHeadDim).contains(headDim)
        && (1...Self.largestHeadDim).contains(valueHeadDim), "head dim out of range")
    self.batch = batch
    self.queryHeads = queryHeads
    self.kvHeads = kvHeads
    self.headDim = headDim
    self.valueHeadDim = valueHeadDim
  }
}
