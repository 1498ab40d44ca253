import Attention
import SequenceParallel

/// What travels round a ring in one pass for each token of all heads and sequences, and what is sent
/// home.
struct TokenBytes {
  let block: Double
  /// 0 where nothing is sent home.
  let result: Double

  /// Keys and values, and backward their gradients.
  init(ofKeys shape: AttentionShape, _ wire: WireType, _ pass: AttentionPass) {
    block = Double(KeyValueBlock.byteCount(keys: 1, shape: shape, elementType: wire))
    result = pass == .forward ? 0 : Double(KeyValueGradient.byteCount(keys: 1, shape: shape))
  }

  /// Queries, and their outputs or gradients.
  init(ofQueries shape: AttentionShape, _ pass: AttentionPass) {
    block = Double(QueryBlock.byteCount(tokens: 1, shape: shape, pass: pass))
    result = Double(
      pass == .forward
        ? ForwardPartial.byteCount(tokens: 1, shape: shape)
        : QueryGradient.byteCount(tokens: 1, shape: shape))
  }

  /// What a transport sends: backward, keys or queries, whichever is less.
  ///
  /// Queries travel the other way round; the model leaves that out, since a ring is the same in a
  /// mirror.
  init(_ problem: DenseProblem, _ transport: Transport, _ pass: AttentionPass) {
    let keys = TokenBytes(ofKeys: problem.shape, problem.wire, pass)
    let queries = TokenBytes(ofQueries: problem.shape, pass)
    let isLess = queries.block + queries.result < keys.block + keys.result
    self =
      transport == .query || pass == .backward && transport != .shared && isLess ? queries : keys
  }
}
