/// The dimensions that every rank of an attention problem shares.
///
/// Tensors at the border are row-major `[batch, tokens, heads, headDim]`. With grouped-query
/// attention, query head `h` reads KV head `⌊h / groupSize⌋`.
///
/// A shape can also be that of some neighbouring heads of a larger problem: see
/// ``restricted(to:)``.
public struct AttentionShape: Hashable, Sendable {
  /// Largest head dim, for keys and for values: that of the keys of multi-head latent attention.
  ///
  /// Nothing in the kernels is of a fixed size: it is how far they are tested.
  ///
  /// Source: DeepSeek-AI 2024, DeepSeek-V2, section 2.1: 512 latent and 64 rotary columns.
  public static let largestHeadDim = 576

  /// Independent sequences.
  public let batch: Int
  /// Heads of `q` and `o`.
  public let queryHeads: Int
  /// Heads of `k` and `v`.
  public let kvHeads: Int
  /// Query heads that read one KV head.
  public let groupSize: Int
  /// What number the first query head has in the whole problem.
  public let firstQueryHead: Int
  /// Columns of `q` and `k`.
  public let headDim: Int
  /// Columns of `v` and `o`.
  public let valueHeadDim: Int

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
    groupSize = queryHeads / kvHeads
    firstQueryHead = 0
  }

  private init(_ whole: AttentionShape, queryHeads heads: Range<Int>, kvHeads: Int) {
    batch = whole.batch
    headDim = whole.headDim
    valueHeadDim = whole.valueHeadDim
    groupSize = whole.groupSize
    queryHeads = heads.count
    firstQueryHead = heads.lowerBound
    self.kvHeads = kvHeads
  }

  // MARK: Heads

  /// The KV heads that some query heads read.
  ///
  /// - Parameter heads: query heads of this shape, at least one.
  public func kvHeads(of heads: Range<Int>) -> Range<Int> {
    kvHead(of: heads.lowerBound)..<kvHead(of: heads.upperBound - 1) + 1
  }

  /// The KV head that a query head reads.
  @inline(__always)
  public func kvHead(of head: Int) -> Int {
    (firstQueryHead + head) / groupSize - firstQueryHead / groupSize
  }

  /// The query heads that read a KV head.
  public func queryHeads(of kvHead: Int) -> Range<Int> {
    let first = (firstQueryHead / groupSize + kvHead) * groupSize - firstQueryHead
    return max(0, first)..<min(queryHeads, first + groupSize)
  }

  /// The shape of the problem that is left if only some query heads, and the KV heads that they
  /// read, are looked at.
  ///
  /// - Parameter heads: query heads of this whole problem, at least one.
  public func restricted(to heads: Range<Int>) -> AttentionShape {
    precondition(firstQueryHead == 0, "restricted already")
    precondition(
      heads.lowerBound >= 0 && heads.upperBound <= queryHeads && !heads.isEmpty,
      "query heads \(heads) of \(queryHeads)")
    return AttentionShape(self, queryHeads: heads, kvHeads: kvHeads(of: heads).count)
  }
}
