import AttentionTypes
import Tensors

/// What the rows of a query tile see of a key tile.
///
/// Lent, never copied: a copy for each register tile took 6 % of the backward pass.
struct TileMask: ~Copyable {
  let pattern: any AttentionPattern
  let keys: PositionRange
  let queries: PositionRange
  let batch: Int
  let head: Int

  /// How much some rows see of some keys of the tile.
  @inline(__always)
  func coverage(keys columns: Range<Int>, queries rows: Range<Int>) -> Coverage {
    pattern.coverage(
      keys: keys.slice(columns), queries: queries.slice(rows), batch: batch, head: head)
  }

  /// Adds what the pattern says, converted to base 2, to one register tile of scores.
  ///
  /// - Parameters:
  ///   - scores: row `r` lies at `r · stride`.
  ///   - keys: the global positions of the register tile's columns.
  ///   - queries: the global positions of its rows.
  ///   - scratch: room for one register tile.
  @unsafe
  func addBias(
    to scores: UnsafeMutablePointer<Float>, stride: Int, keys: PositionRange,
    queries: PositionRange, scratch: borrowing AlignedBuffer<Float>
  ) {
    if unsafe !pattern.hasBias && hide(scores, stride, keys, queries) { return }
    let bias = unsafe scratch.unsafeBaseAddress
    var span = unsafe MutableSpan(_unsafeStart: bias, count: keys.count * queries.count)
    pattern.fill(&span, keys: keys, queries: queries, batch: batch, head: head)
    for row in 0..<queries.count {
      for key in 0..<keys.count {
        unsafe scores[row * stride + key] += bias[row * keys.count + key] * log2OfE
      }
    }
  }

  /// Hides what rows do not see, if what they see of the keys are neighbours.
  ///
  /// - Returns: whether all is hidden that is to be.
  @unsafe
  private func hide(
    _ scores: UnsafeMutablePointer<Float>, _ stride: Int, _ keys: PositionRange,
    _ queries: PositionRange
  ) -> Bool {
    for row in 0..<queries.count {
      guard
        let seen = pattern.visibleKeys(of: queries[row], in: keys, batch: batch, head: head)
      else { return false }
      let scoreRow = unsafe scores + row * stride
      for key in 0..<seen.lowerBound { unsafe scoreRow[key] = -.infinity }
      for key in seen.upperBound..<keys.count { unsafe scoreRow[key] = -.infinity }
    }
    return true
  }
}

/// What a pattern says of a tile: of each group of rows over all keys, and where that is partial of
/// each register tile.
struct EdgeCoverage {
  /// Register tiles of a group.
  let panels: Int
  var ofGroups: [Coverage]
  /// `[groups][panels]`.
  var ofTiles: [Coverage]

  /// Of a tile of so many groups of queries and so many keys.
  init(groups: Int, keys: Int) {
    panels = keys / TileSizes.panelWidth
    ofGroups = Array(repeating: .none, count: groups)
    ofTiles = Array(repeating: .none, count: groups * panels)
  }
}
