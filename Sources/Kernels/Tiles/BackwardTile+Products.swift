import AttentionTypes
import Tensors

/// The five products of one tile of queries and the tile of keys.
extension BackwardTile {
  /// Collects the gradients of the keys and values, and prepares those of the queries.
  ///
  /// - Parameters:
  ///   - mask: what the rows see of the keys; nil if everything, with nothing added.
  ///   - rule: what becomes of scores; nil if nothing does.
  @unsafe
  mutating func attend(mask: TileMask?, rule: TileRule?) {
    for group in 0..<groups { visiblePanels[group] = mask == nil ? 0..<panels : 0..<0 }
    for panel in 0..<panels { visibleGroups[panel] = mask == nil ? 0..<groups : 0..<0 }
    if let mask {
      for group in 0..<groups {
        groupCoverage[group] = mask.coverage(keys: 0..<keys, queries: rows(of: group))
      }
    }
    for panel in 0..<panels {
      for group in 0..<groups {
        guard let mask else {
          unsafe computeScores(panel: panel, group: group)
          if let rule { unsafe change(panel: panel, group: group, by: rule) }
          unsafe computeGradients(panel: panel, group: group)
          if rule != nil { unsafe multiplyBySlopes(panel: panel, group: group) }
          continue
        }
        let coverage =
          groupCoverage[group] == .some
          ? mask.coverage(keys: columns(of: panel), queries: rows(of: group))
          : groupCoverage[group]
        if coverage == .none {
          unsafe clear(panel: panel, group: group)
          continue
        }
        visiblePanels[group] = extended(visiblePanels[group], by: panel)
        visibleGroups[panel] = extended(visibleGroups[panel], by: group)
        unsafe computeScores(panel: panel, group: group)
        if let rule { unsafe change(panel: panel, group: group, by: rule) }
        if coverage == .some || mask.pattern.hasBias {
          unsafe mask.addBias(
            to: weights.unsafeBaseAddress + place(panel: panel, group: group),
            stride: TileSizes.backwardStride, keys: mask.keys.slice(columns(of: panel)),
            queries: mask.queries.slice(rows(of: group)), scratch: edge)
        }
        unsafe computeGradients(panel: panel, group: group)
        if rule != nil { unsafe multiplyBySlopes(panel: panel, group: group) }
      }
    }
    unsafe collect(
      weights, from: outputGradients, columns: valueHeadDim, to: dv)
    unsafe collect(scoreGradients, from: queries, columns: headDim, to: dk)
  }

  @unsafe @inline(__always)
  private func place(panel: Int, group: Int) -> Int {
    group * Self.height * TileSizes.backwardStride + panel * Self.width
  }

  /// The keys of a panel.
  private func columns(of panel: Int) -> Range<Int> {
    panel * Self.width..<min((panel + 1) * Self.width, keys)
  }

  /// The rows of a group.
  private func rows(of group: Int) -> Range<Int> {
    group * Self.height..<min((group + 1) * Self.height, rows)
  }

  /// Scores of one register tile: `q kᵀ`.
  @unsafe
  private func computeScores(panel: Int, group: Int) {
    let product = unsafe rowsTimesPanel(
      queries, columns: headDim, group: group, panels: keysAcross, panel: panel)
    unsafe product.store(
      to: weights.unsafeBaseAddress + place(panel: panel, group: group),
      stride: TileSizes.backwardStride)
  }

  /// Weights and gradients of the scores of one register tile: `p = 2^(s − lse)` and
  /// `ds = p ∘ (do vᵀ − Δ)`.
  @unsafe
  private func computeGradients(panel: Int, group: Int) {
    let product = unsafe rowsTimesPanel(
      outputGradients, columns: valueHeadDim, group: group, panels: valuesAcross, panel: panel)
    let first = unsafe place(panel: panel, group: group)
    let weightTile = unsafe weights.unsafeBaseAddress + first
    let gradientTile = unsafe scoreGradients.unsafeBaseAddress + first
    unsafe product.store(to: gradientTile, stride: TileSizes.backwardStride)
    for row in 0..<Self.height {
      let shift = unsafe Vector(repeating: lse.unsafeBaseAddress[group * Self.height + row])
      let rest = unsafe Vector(
        repeating: lseRemainder.unsafeBaseAddress[group * Self.height + row])
      let mean = unsafe Vector(repeating: delta.unsafeBaseAddress[group * Self.height + row])
      for half in [0, Vector.width] {
        let offset = row * TileSizes.backwardStride + half
        let weight = unsafe exp2(Vector(loading: weightTile, at: offset) - shift - rest)
        let gradient = unsafe Vector(loading: gradientTile, at: offset) - mean
        unsafe weight.store(to: weightTile, at: offset)
        unsafe (weight * gradient).store(to: gradientTile, at: offset)
      }
    }
  }

  /// Changes the scores of one register tile, and keeps the derivatives.
  @unsafe
  private func change(panel: Int, group: Int, by rule: TileRule) {
    unsafe rule.apply(
      to: weights.unsafeBaseAddress + place(panel: panel, group: group),
      stride: TileSizes.backwardStride, keys: columns(of: panel), queries: rows(of: group),
      slopes: slopes.unsafeBaseAddress)
  }

  /// Makes gradients of changed scores those of the scores, by the derivatives kept last.
  @unsafe
  private func multiplyBySlopes(panel: Int, group: Int) {
    let gradients = unsafe scoreGradients.unsafeBaseAddress + place(panel: panel, group: group)
    for row in 0..<rows(of: group).count {
      for half in [0, Vector.width] {
        let offset = row * TileSizes.backwardStride + half
        let slope = unsafe Vector(
          loading: slopes.unsafeBaseAddress, at: row * Self.width + half)
        unsafe (Vector(loading: gradients, at: offset) * slope).store(to: gradients, at: offset)
      }
    }
  }

  /// Six rows times one panel of W keys, W columns at a time.
  @unsafe @inline(__always)
  private func rowsTimesPanel(
    _ rows: borrowing AlignedBuffer<Float>, columns: Int, group: Int,
    panels: borrowing AlignedBuffer<Float>, panel: Int
  ) -> RegisterTile {
    var product = RegisterTile()
    let source = unsafe UnsafePointer(rows.unsafeBaseAddress) + group * Self.height * Self.width
    let across = unsafe UnsafePointer(panels.unsafeBaseAddress) + panel * Self.width * columns
    var column = 0
    while column + Self.width <= columns {
      unsafe product.accumulate(
        rows: source + column * TileSizes.backwardQueries, rowStride: Self.width, stepStride: 1,
        panel: across + column * Self.width, steps: Self.width)
      column += Self.width
    }
    if column < columns {
      unsafe product.accumulate(
        rows: source + column * TileSizes.backwardQueries, rowStride: Self.width, stepStride: 1,
        panel: across + column * Self.width, steps: columns - column)
    }
    return product
  }

  /// Zero weights where nothing is seen.
  @unsafe
  private func clear(panel: Int, group: Int) {
    let first = unsafe place(panel: panel, group: group)
    for row in 0..<Self.height {
      for half in [0, Vector.width] {
        let offset = first + row * TileSizes.backwardStride + half
        unsafe Vector().store(to: weights.unsafeBaseAddress, at: offset)
        unsafe Vector().store(to: scoreGradients.unsafeBaseAddress, at: offset)
      }
    }
  }

  /// Adds `Σ_rows factors[row, key] · source[row, :]` to the rows of the keys.
  @unsafe
  private func collect(
    _ factors: borrowing AlignedBuffer<Float>, from source: borrowing AlignedBuffer<Float>,
    columns: Int, to target: borrowing AlignedBuffer<Float>
  ) {
    for first in stride(from: 0, to: columns, by: Self.width) {
      let panel = unsafe UnsafePointer(source.unsafeBaseAddress) + first * TileSizes.backwardQueries
      for key in stride(from: 0, to: keys, by: Self.height) {
        let seen = joined(
          visibleGroups[key / Self.width],
          visibleGroups[min(key + Self.height - 1, keys - 1) / Self.width])
        if seen.isEmpty { continue }
        let begin = seen.lowerBound * Self.height
        let end = seen.upperBound * Self.height
        var product = RegisterTile()
        unsafe product.accumulate(
          rows: UnsafePointer(factors.unsafeBaseAddress) + begin * TileSizes.backwardStride + key,
          rowStride: 1, stepStride: TileSizes.backwardStride,
          panel: panel + begin * Self.width, steps: end - begin)
        unsafe product.add(
          to: target.unsafeBaseAddress + (first * TileSizes.backwardKeys + key * Self.width),
          stride: Self.width)
      }
    }
  }

  /// Adds `ds k` to the rows of the queries' gradients.
  ///
  /// - Parameter dq: row `row` lies at `row · stride`.
  @unsafe
  func addQueryGradients(to dq: UnsafeMutablePointer<Float>, stride: Int) {
    for first in Swift.stride(from: 0, to: headDim, by: Self.width) {
      let columns =
        unsafe UnsafePointer(keyColumns.unsafeBaseAddress)
        + first * TileSizes.backwardKeys
      for group in 0..<groups {
        let seen = visiblePanels[group]
        if seen.isEmpty { continue }
        let begin = seen.lowerBound * Self.width
        let end = min(seen.upperBound * Self.width, keys)
        let row = group * Self.height
        var product = RegisterTile()
        unsafe product.accumulate(
          rows: UnsafePointer(scoreGradients.unsafeBaseAddress) + row * TileSizes.backwardStride
            + begin,
          rowStride: TileSizes.backwardStride, stepStride: 1,
          panel: columns + begin * Self.width, steps: end - begin)
        let target = unsafe dq + row * stride + first
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

private func extended(_ range: Range<Int>, by index: Int) -> Range<Int> {
  joined(range, index..<index + 1)
}

/// The smallest range that holds both; an empty one holds nothing.
private func joined(_ a: Range<Int>, _ b: Range<Int>) -> Range<Int> {
  if a.isEmpty { return b }
  if b.isEmpty { return a }
  return min(a.lowerBound, b.lowerBound)..<max(a.upperBound, b.upperBound)
}
