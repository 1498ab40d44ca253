extension KeyValueGradient {
  /// Adds what others have found out about some of the KV heads of these keys.
  ///
  /// - Parameters:
  ///   - other: gradients of neighbouring KV heads of these keys, and perhaps of more keys.
  ///   - keys: which of the keys of `other` these are.
  ///   - firstKVHead: which KV head of this shape is the first of `other`.
  package mutating func add(
    _ other: borrowing KeyValueGradient, keys: Range<Int>, firstKVHead: Int
  ) {
    precondition(
      other.accumulation == accumulation && other.shape.batch == shape.batch
        && other.shape.headDim == shape.headDim && other.shape.valueHeadDim == shape.valueHeadDim,
      "gradients of another problem")
    precondition(
      keys.count == keyCount && keys.lowerBound >= 0 && keys.upperBound <= other.keyCount,
      "keys \(keys) of \(other.keyCount) for \(keyCount)")
    let heads = other.shape.kvHeads
    precondition(firstKVHead >= 0 && firstKVHead + heads <= shape.kvHeads, "too many KV heads")
    for batch in 0..<shape.batch {
      for (key, otherKey) in keys.enumerated() {
        let row = (batch * keyCount + key) * shape.kvHeads + firstKVHead
        let source = (batch * other.keyCount + otherKey) * heads
        unsafe add(rows: source..<source + heads, of: other, from: row)
      }
    }
  }

  /// Adds neighbouring rows of both tensors to those from `row` on.
  @unsafe
  private mutating func add(
    rows: Range<Int>, of other: borrowing KeyValueGradient, from row: Int
  ) {
    switch accumulation {
    case .fast:
      unsafe addFloats(
        rows.count * shape.headDim, from: other.keyRows + rows.lowerBound * shape.headDim,
        to: keyRows + row * shape.headDim)
      unsafe addFloats(
        rows.count * shape.valueHeadDim,
        from: other.valueRows + rows.lowerBound * shape.valueHeadDim,
        to: valueRows + row * shape.valueHeadDim)
    case .reproducible:
      for (index, source) in rows.enumerated() {
        unsafe reproducibleKeyRows.add(
          row: source, of: other.reproducibleKeyRows, to: row + index)
        unsafe reproducibleValueRows.add(
          row: source, of: other.reproducibleValueRows, to: row + index)
      }
    }
  }
}
