import AttentionTypes
import Tensors

/// Few rows: keys and values are read once, where they lie.
///
/// Many rows pay for copying a tile of keys to scratch. For a handful the copy is most of the work,
/// and what counts is how fast memory can be read. The results are the same bits.
extension ForwardTile<Float> {
  /// The most rows for which reading in place is faster.
  private static var mostRows: Int { 4 }

  /// Whether a tile of `count` keys is to be read in place: there are few rows, and all packed
  /// panels are full.
  func readsInPlace(count: Int) -> Bool {
    rows <= Self.mostRows && count % PackedPanel.width == 0
      && valueHeadDim % PackedPanel.width == 0
  }

  /// Takes the keys `first ..< first + count` of a head into the state.
  ///
  /// - Parameters:
  ///   - first: a multiple of ``PackedPanel/width``.
  ///   - mask: what the rows see of them; nil if everything, with nothing added.
  ///   - rule: what becomes of scores; nil if nothing does.
  @unsafe
  mutating func attend(
    to head: PackedHead, first: Int, count: Int, mask: TileMask?, rule: TileRule?
  ) {
    switch unsafe head.elementType {
    case .f32: unsafe attend(Float.self, head, first, count, mask, rule)
    case .f16: unsafe attend(Float16.self, head, first, count, mask, rule)
    case .bf16: unsafe attend(BFloat16.self, head, first, count, mask, rule)
    case .int8: unsafe attend(Int8.self, head, first, count, mask, rule)
    }
  }

  @unsafe @inline(__always)
  private mutating func attend<Packed: PackedElement>(
    _ type: Packed.Type, _ head: PackedHead, _ first: Int, _ count: Int, _ mask: TileMask?,
    _ rule: TileRule?
  ) {
    unsafe computeScores(type, head, first, count)
    unsafe rule?.apply(
      to: scoreTile(panel: 0, group: 0), stride: TileSizes.scoreStride, keys: 0..<count,
      queries: 0..<rows)
    visiblePanels[0] = 0..<roundedUp(count) / TileSizes.panelWidth
    if let mask { unsafe apply(mask, count) }
    unsafe hideScores(past: count)
    unsafe computeWeights()
    unsafe accumulateOutputs(type, head, first, count)
  }

  @unsafe
  private func computeScores<Packed: PackedElement>(
    _ type: Packed.Type, _ head: PackedHead, _ first: Int, _ count: Int
  ) {
    let width = PackedPanel.width
    let keys = unsafe UnsafePointer(head.keys.assumingMemoryBound(to: Packed.self))
    forEachStrip(of: count / width) { panel, panels in
      let source = unsafe keys + (first + panel * width) * headDim
      let scales = unsafe head.keyScales(from: first + panel * width)
      for row in 0..<rows {
        var strip = RowStrip()
        unsafe strip.accumulate(
          row: queries.unsafeBaseAddress + row, stride: TileSizes.registerRows,
          panels: source, count: panels, distance: width * headDim, steps: headDim
        ) { panel, half, _ in
          unsafe Packed.scales(scales, at: panel * width + half * Vector.width)
        }
        let target =
          unsafe scores.unsafeBaseAddress + row * TileSizes.scoreStride + panel * width
        unsafe strip.store(panels) { unsafe target + $0 * width }
      }
    }
  }

  /// Adds biases and hides what is not seen.
  @unsafe
  private mutating func apply(_ mask: TileMask, _ count: Int) {
    var visible = 0..<0
    for panel in visiblePanels[0] {
      let keys = mask.keys.slice(
        panel * TileSizes.panelWidth..<min((panel + 1) * TileSizes.panelWidth, count))
      let coverage = mask.pattern.coverage(keys: keys, queries: mask.queries)
      if coverage == .none {
        unsafe hideScores(panel: panel, group: 0)
        continue
      }
      visible = (visible.isEmpty ? panel : visible.lowerBound)..<panel + 1
      if coverage == .some || mask.pattern.hasBias {
        unsafe mask.addBias(
          to: scoreTile(panel: panel, group: 0), stride: TileSizes.scoreStride, keys: keys,
          queries: mask.queries, scratch: bias)
      }
    }
    visiblePanels[0] = visible
  }

  /// The last panel of scores may be wider than what is left of packed ones.
  @unsafe
  private func hideScores(past count: Int) {
    for row in 0..<rows {
      let scoreRow = unsafe scores.unsafeBaseAddress + row * TileSizes.scoreStride
      for key in count..<roundedUp(count) { unsafe scoreRow[key] = -.infinity }
    }
  }

  @unsafe
  private func accumulateOutputs<Packed: PackedElement>(
    _ type: Packed.Type, _ head: PackedHead, _ first: Int, _ count: Int
  ) {
    let width = PackedPanel.width
    let begin = visiblePanels[0].lowerBound * TileSizes.panelWidth
    let steps = max(begin, min(visiblePanels[0].upperBound * TileSizes.panelWidth, count)) - begin
    let values =
      unsafe UnsafePointer(head.values.assumingMemoryBound(to: Packed.self))
      + (first + begin) * width
    let scales = unsafe head.valueScales(from: first + begin)
    forEachStrip(of: valueHeadDim / width) { panel, panels in
      for row in 0..<rows {
        var strip = RowStrip()
        unsafe strip.accumulate(
          row: scores.unsafeBaseAddress + row * TileSizes.scoreStride + begin, stride: 1,
          panels: values + panel * width * head.count, count: panels,
          distance: width * head.count, steps: steps
        ) { _, _, key in
          unsafe Vector(repeating: Packed.scale(scales, at: key))
        }
        unsafe strip.add(panels) {
          let column = (panel + $0) * width
          return unsafe results.outputRow(panel: column / TileSizes.panelWidth, row: row)
            + column % TileSizes.panelWidth
        }
      }
    }
  }

  /// Cuts `count` panels into strips of four, and of one for what is left.
  @inline(__always)
  private func forEachStrip(of count: Int, _ body: (_ panel: Int, _ panels: Int) -> Void) {
    var panel = 0
    while panel + RowStrip.panels <= count {
      body(panel, RowStrip.panels)
      panel += RowStrip.panels
    }
    while panel < count {
      body(panel, 1)
      panel += 1
    }
  }
}
