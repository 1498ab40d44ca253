import AttentionTypes
import Tensors

extension KeyValueBlock {
  /// Copies some neighbouring KV heads, which are a block of the same keys and fewer heads.
  ///
  /// Nothing is packed again: in each run of each sequence they are one stretch of bytes.
  ///
  /// - Parameters:
  ///   - heads: KV heads of this block.
  ///   - target: as many bytes as a block of those heads.
  @unsafe
  package func copy(kvHeads heads: Range<Int>, to target: UnsafeMutableRawBufferPointer) {
    precondition(heads.lowerBound >= 0 && heads.upperBound <= shape.kvHeads, "KV heads \(heads)")
    let token =
      heads.count
      * elementType.bytesPerToken(headDim: shape.headDim, valueHeadDim: shape.valueHeadDim)
    precondition(
      target.count == shape.batch * keyCount * token, "room for \(heads.count) KV heads")
    if unsafe target.isEmpty { return }
    var start = 0
    for (run, positions) in runs.enumerated() {
      let byteCount = positions.count * token
      for batch in 0..<shape.batch {
        let source = unsafe packedHead(batch: batch, run: run, kvHead: heads.lowerBound).keys
        unsafe UnsafeMutableRawBufferPointer(rebasing: target[start..<start + byteCount])
          .copyMemory(from: UnsafeRawBufferPointer(start: source, count: byteCount))
        start += byteCount
      }
    }
  }
}
