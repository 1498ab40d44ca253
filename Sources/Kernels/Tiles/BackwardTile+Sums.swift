import AttentionTypes
import Tensors

/// The three products of one tile of queries and the tile of keys that are sums over rows or keys.
extension BackwardTile {
  /// Collects the gradients of the keys and values.
  @unsafe
  func collect() {
    unsafe collect(
      weights, from: outputGradients, columns: valueHeadDim, to: dv)
    unsafe collect(scoreGradients, from: queries, columns: headDim, to: dk)
  }

  /// Adds `Σ_rows factors[row, key] · source[row, :]` to the rows of the keys.
  @unsafe
  private func collect(
    _ factors: borrowing AlignedBuffer<Element>, from source: borrowing AlignedBuffer<Element>,
    columns: Int, to target: borrowing AlignedBuffer<Float>
  ) {
    for first in stride(from: 0, to: columns, by: Self.width) {
      let panel =
        unsafe UnsafePointer(source.unsafeBaseAddress)
        + first * Element.steps(of: TileSizes.backwardQueries)
      for key in stride(from: 0, to: keys, by: Self.height) {
        let seen = visibleGroups[key / Self.height]
        if seen.isEmpty { continue }
        let begin = seen.lowerBound * Self.height / Element.depth
        let end = seen.upperBound * Self.height / Element.depth
        var product = FactorTile<Element>()
        unsafe product.accumulate(
          rows: UnsafePointer(factors.unsafeBaseAddress) + begin * Element.backwardStride + key,
          rowStride: 1, stepStride: Element.backwardStride,
          panel: panel + begin * Self.width, steps: end - begin)
        unsafe product.add(
          to: target.unsafeBaseAddress + (first * Element.backwardKeys + key * Self.width),
          stride: Self.width)
      }
    }
  }

  /// Adds `ds k` to the rows of the queries' gradients.
  ///
  /// - Parameter dq: of all the rows that were to be looked at; row `row` lies at `row · stride`.
  @unsafe
  func addQueryGradients(to dq: UnsafeMutablePointer<Float>, stride: Int) {
    for first in Swift.stride(from: 0, to: headDim, by: Self.width) {
      let columns =
        unsafe UnsafePointer(keyColumns.unsafeBaseAddress)
        + first * Element.steps(of: Element.backwardKeys)
      for group in 0..<groups {
        let seen = visibleKeys[group]
        if seen.isEmpty { continue }
        let begin = seen.lowerBound / Element.depth
        let end = Element.steps(of: seen.upperBound)
        let row = group * Self.height
        var product = FactorTile<Element>()
        unsafe product.accumulate(
          rows: gradientRow(row) + begin, rowStride: Self.rowStride, stepStride: 1,
          panel: columns + begin * Self.width, steps: end - begin)
        let target = unsafe dq + (firstRow + row) * stride + first
        let (height, width) = (min(Self.height, rows - row), min(Self.width, headDim - first))
        if height == Self.height, width == Self.width {
          unsafe product.add(to: target, stride: stride)
        } else {
          let tile = unsafe edge.unsafeBaseAddress
          unsafe product.store(to: tile, stride: Self.width)
          for y in 0..<height {
            for x in 0..<width { unsafe target[y * stride + x] += tile[y * Self.width + x] }
          }
        }
      }
    }
  }
}
