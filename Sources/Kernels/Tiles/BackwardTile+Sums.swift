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
    let maxSteps = Element.steps(of: Element.backwardQueries)
    for first in stride(from: 0, to: columns, by: Self.width) {
      let panel = unsafe UnsafePointer(source.unsafeBaseAddress) + first * maxSteps
      for key in stride(from: 0, to: keys, by: Self.height) {
        let seen = visibleGroups[key / Self.height]
        if seen.isEmpty { continue }
        let begin = seen.lowerBound * Self.height / Element.depth
        let steps = seen.count * Self.height / Element.depth
        if Self.isTransposed {
          // Groups of columns, each as many as a panel has keys, times panels of weights.
          unsafe Element.multiply(
            rows: panel + begin * Self.height, rowStride: Element.stepRun,
            runStride: Self.height * Element.stepRun,
            panel: UnsafePointer(factors.unsafeBaseAddress) + key / Self.width * Self.panelStride
              + begin * Self.width, steps: steps, scale: nil,
            to: target.unsafeBaseAddress + (key * roundedUp(columns) + first * Self.width),
            stride: Self.width, adding: true)
        } else {
          unsafe Element.multiply(
            rows: UnsafePointer(factors.unsafeBaseAddress) + begin * Self.stepStride + key,
            rowStride: 1, runStride: Self.stepStride, panel: panel + begin * Self.width,
            steps: steps, scale: nil,
            to: target.unsafeBaseAddress + (first * TileSizes.backwardKeys + key * Self.width),
            stride: Self.width, adding: true)
        }
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
        + first * Element.steps(of: TileSizes.backwardKeys)
      for group in 0..<groups {
        let seen = visibleKeys[group]
        if seen.isEmpty { continue }
        // Whole runs: gradients of the scores of whole panels are known.
        let begin = seen.lowerBound / (Element.depth * Element.stepRun) * Element.stepRun
        let end = Element.steps(of: seen.upperBound)
        let row = group * Self.height
        let target = unsafe dq + (firstRow + row) * stride + first
        let (height, width) = (min(Self.height, rows - row), min(Self.width, headDim - first))
        // What the next group adds to is far away; its products take longer than to fetch that.
        for next in row + height..<min(row + height + Self.height, rows) {
          unsafe RowsAhead.ask(for: dq + (firstRow + next) * stride + first, columns: width)
        }
        let isWhole = height == Self.height && width == Self.width
        let tile = unsafe edge.unsafeBaseAddress
        func multiply(to target: UnsafeMutablePointer<Float>, stride: Int, adding: Bool) {
          unsafe Element.multiply(
            rows: gradientRow(row) + begin, rowStride: Self.rowStride, runStride: Element.stepRun,
            panel: columns + begin * Self.width, steps: end - begin, scale: nil, to: target,
            stride: stride, adding: adding)
        }
        if isWhole {
          unsafe multiply(to: target, stride: stride, adding: true)
        } else {
          unsafe multiply(to: tile, stride: Self.width, adding: false)
          for y in 0..<height {
            for x in 0..<width { unsafe target[y * stride + x] += tile[y * Self.width + x] }
          }
        }
      }
    }
  }
}
