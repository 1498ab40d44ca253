import Attention
import Sharding
import Tensors

/// A value that lies in memory which a piece keeps alive.
///
/// The value can be used and not taken out: it ends with the memory.
struct Lent<Value: ~Copyable>: ~Copyable {
  private let piece: Piece
  /// What lies there.
  var value: Value

  fileprivate init(_ value: consuming Value, in piece: Piece) {
    self.value = value
    self.piece = piece
  }

  // With this the value cannot be moved out.
  deinit {}
}

/// Blocks and results as they lie in the memory of a stream: the one place where a piece becomes
/// what kernels read and write.
extension ShardedAttention {
  /// Keys and values of some neighbouring runs of an owner; of all, unless it is said which.
  func block(
    of owner: Int, _ runs: Range<Int>? = nil, at piece: Piece
  ) -> Lent<KeyValueBlock> {
    Lent(
      unsafe KeyValueBlock(
        shape: shape, elementType: wire, runs: keys.runs(of: owner, runs),
        memory: piece.unsafeBytes), in: piece)
  }

  /// The gradients of the keys and values of some runs of an owner.
  func gradient(of owner: Int, _ runs: Range<Int>, at piece: Piece) -> Lent<KeyValueGradient> {
    gradient(keys: keys.runs(of: owner, runs).tokenCount, at: piece)
  }

  /// The gradients of some keys and values.
  func gradient(keys: Int, at piece: Piece) -> Lent<KeyValueGradient> {
    Lent(
      unsafe KeyValueGradient(
        shape: shape, keys: keys, memory: piece.unsafeBytes, accumulation: accumulation),
      in: piece)
  }

  /// Queries of some neighbouring runs of an owner.
  func queryBlock(
    of owner: Int, _ runs: Range<Int>, _ pass: AttentionPass, at piece: Piece
  ) -> Lent<QueryBlock> {
    Lent(
      unsafe QueryBlock(
        shape: shape, runs: queries.runs(of: owner, runs), pass: pass, memory: piece.unsafeBytes),
      in: piece)
  }

  /// Outputs of these queries that are not yet divided by their row sums.
  func partial(of owner: Int, _ runs: Range<Int>, at piece: Piece) -> Lent<ForwardPartial> {
    Lent(
      unsafe ForwardPartial(
        shape: shape, tokens: queries.runs(of: owner, runs).tokenCount, memory: piece.unsafeBytes,
        accumulation: accumulation),
      in: piece)
  }

  /// The gradients of these queries.
  func queryGradient(of owner: Int, _ runs: Range<Int>, at piece: Piece) -> Lent<QueryGradient> {
    Lent(
      unsafe QueryGradient(
        shape: shape, tokens: queries.runs(of: owner, runs).tokenCount, memory: piece.unsafeBytes,
        accumulation: accumulation),
      in: piece)
  }
}

extension ShardedAttention {
  /// The gradients of some keys and values in the heads of a share; nil if it has none.
  func gradient(of share: HeadShare, keys: Int, at piece: Piece) -> Lent<KeyValueGradient>? {
    guard let shape = share.shape else { return nil }
    return Lent(
      unsafe KeyValueGradient(
        shape: shape, keys: keys, memory: piece.unsafeBytes, accumulation: accumulation),
      in: piece)
  }
}

extension Lent<KeyValueBlock> {
  /// Copies some neighbouring KV heads, which are a block of the same keys and fewer heads.
  func copy(kvHeads: Range<Int>, to piece: Piece) {
    unsafe value.copy(kvHeads: kvHeads, to: piece.unsafeBytes)
  }
}
