import AttentionTypes
package import Compute

extension KeyValueGradient {
  /// Adds what others have found out about some of the KV heads of some of these keys.
  ///
  /// - Parameters:
  ///   - other: gradients of neighbouring KV heads of these keys, and perhaps of more keys.
  ///   - keys: the keys of `other` that are meant.
  ///   - firstKey: which of these keys is the first of them.
  ///   - firstKVHead: which KV head of this shape is the first of `other`.
  package mutating func add(
    _ other: borrowing KeyValueGradient, keys: Range<Int>, to firstKey: Int = 0, firstKVHead: Int,
    team: ThreadTeam = ThreadTeam(threads: 1)
  ) {
    precondition(
      other.accumulation == accumulation && other.shape.batch == shape.batch
        && other.shape.headDim == shape.headDim && other.shape.valueHeadDim == shape.valueHeadDim,
      "gradients of another problem")
    precondition(
      firstKey >= 0 && firstKey + keys.count <= keyCount && keys.lowerBound >= 0
        && keys.upperBound <= other.keyCount,
      "keys \(keys) of \(other.keyCount) to \(firstKey) of \(keyCount)")
    let heads = other.shape.kvHeads
    precondition(firstKVHead >= 0 && firstKVHead + heads <= shape.kvHeads, "too many KV heads")
    let kind = accumulation.kind
    let (keyRows, valueRows) = unsafe (keyRows, valueRows)
    let (otherKeyRows, otherValueRows) = unsafe (other.keyRows, other.valueRows)
    let (shape, keyCount, otherCount) = (shape, keyCount, other.keyCount)
    team.forEachPart(
      of: shape.batch * keys.count, cost: heads * (shape.headDim + shape.valueHeadDim)
    ) { part in
      for index in part {
        let (batch, key) = index.quotientAndRemainder(dividingBy: keys.count)
        let row = (batch * keyCount + firstKey + key) * shape.kvHeads + firstKVHead
        let source = (batch * otherCount + keys.lowerBound + key) * heads
        unsafe kind.add(heads, from: source, of: otherKeyRows, to: row, of: keyRows)
        unsafe kind.add(heads, from: source, of: otherValueRows, to: row, of: valueRows)
      }
    }
  }
}
