package import Attention

/// What of a token travels in one pass, and what is found out about it and sent home, over all
/// heads and sequences.
///
/// With `w` the bytes of an element on the wire (and two scales more for int8), fast sums:
///
/// | | block | result |
/// |---|---|---|
/// | keys, forward | `kvHeads (headDim + valueHeadDim) w` | |
/// | keys, backward | `kvHeads (headDim + valueHeadDim) w` | `kvHeads (headDim + valueHeadDim) 4` |
/// | queries, forward | `queryHeads headDim 4` | `queryHeads (valueHeadDim + 2) 4` |
/// | queries, backward | `queryHeads (headDim + valueHeadDim + 3) 4` | `queryHeads headDim 4` |
package struct TravellingBytes: Hashable, Sendable {
  /// Bytes of a token of a block.
  package let block: Int
  /// Bytes of its result; 0 where nothing is sent home.
  package let result: Int

  /// Works them out.
  package init(
    _ travelling: Travelling, _ pass: AttentionPass, shape: AttentionShape, wire: WireType,
    accumulation: Accumulation = .fast
  ) {
    switch travelling {
    case .keys:
      block = KeyValueBlock.byteCount(keys: 1, shape: shape, elementType: wire)
      result =
        pass == .forward
        ? 0 : KeyValueGradient.byteCount(keys: 1, shape: shape, accumulation: accumulation)
    case .queries:
      block = QueryBlock.byteCount(tokens: 1, shape: shape, pass: pass)
      result =
        pass == .forward
        ? ForwardPartial.byteCount(tokens: 1, shape: shape, accumulation: accumulation)
        : QueryGradient.byteCount(tokens: 1, shape: shape, accumulation: accumulation)
    }
  }
}
