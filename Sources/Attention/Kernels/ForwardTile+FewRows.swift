import Compute
import Tensors

/// Rows of one query head in a tile of few rows.
struct RowSegment {
  /// The query head in the shard.
  let head: Int
  /// Its first row, as a local index in the shard.
  let firstToken: Int
  let positions: PositionRange
  /// Its first row in the tile.
  let firstRow: Int

  /// Its rows in the tile.
  var rows: Range<Int> { firstRow..<firstRow + positions.count }
}

/// Few rows: keys and values are read once for all of them, where they lie.
///
/// Many rows pay for copying a tile of keys to scratch. For a handful the copy is most of the work,
/// and what counts is how fast memory can be read. The rows are those of all query heads that read
/// a KV head. Their results are the same bits as in a tile of many rows, unless `Element` is
/// factored.
extension ForwardTile {
  /// The most rows for which reading in place is faster.
  static var mostFewRows: Int { 48 }

  /// Queries below this keep factored products finite, whatever the keys.
  private static var largestFactored: Float { 0x1p64 }

  // MARK: Loading

  /// Takes up the queries of all segments.
  ///
  /// - Parameters:
  ///   - queries: of a sequence, `[tokens, queryHeads, headDim]`.
  ///   - scale: multiplies the scores, with log₂e folded in.
  @unsafe
  mutating func load(
    queries: UnsafePointer<Float>, queryHeads: Int, segments: [RowSegment], scale: Float
  ) {
    startLoading(rows: segments.last?.rows.upperBound ?? 0)
    var largest: Float = 0
    for segment in segments {
      for (index, row) in segment.rows.enumerated() {
        let token = segment.firstToken + index
        let query = unsafe queries + (token * queryHeads + segment.head) * headDim
        unsafe load(query: query, row: row, scale: scale)
        for d in 0..<headDim { unsafe largest = max(largest, abs(query[d] * scale)) }
      }
    }
    isFactorable = largest < Self.largestFactored
  }

  // MARK: One tile of keys

  /// Takes the keys `first ..< first + count` of a head into the state.
  ///
  /// - Parameters:
  ///   - first: a multiple of W.
  ///   - exactly: whether bits must be those of a tile of many rows.
  ///   - scratch: room for a panel of floats of keys or values.
  ///   - mask: what the rows of a segment see of them; nil if everything, with nothing added.
  ///   - rule: what becomes of their scores; nil if nothing does.
  @unsafe
  mutating func attend(
    to head: PackedHead, first: Int, count: Int, segments: [RowSegment], exactly: Bool,
    scratch: borrowing AlignedBuffer<Float>, mask: (RowSegment) -> TileMask?,
    rule: (RowSegment) -> TileRule?
  ) {
    let keys = unsafe KeyStretch(head: head, first: first, count: count, scratch: scratch)
    switch unsafe head.elementType {
    case .f32: unsafe attend(Float.self, keys, segments, mask, rule)
    case .f16: unsafe attend(Float16.self, keys, segments, mask, rule)
    case .bf16: unsafe attend(BFloat16.self, keys, segments, mask, rule)
    case .int8 where exactly || !isFactorable:
      unsafe attend(Int8.self, keys, segments, mask, rule)
    case .int8: unsafe attend(FactoredInt8.self, keys, segments, mask, rule)
    }
  }

  /// Some keys and values of a head, and room for a panel of them.
  @unsafe
  private struct KeyStretch {
    let head: PackedHead
    let first: Int
    let count: Int
    let scratch: UnsafeMutablePointer<Float>

    init(
      head: PackedHead, first: Int, count: Int, scratch: borrowing AlignedBuffer<Float>
    ) {
      unsafe self.head = head
      self.first = first
      self.count = count
      unsafe self.scratch = scratch.unsafeBaseAddress
    }
  }

  @unsafe @inline(__always)
  private mutating func attend<Element: PanelElement>(
    _ type: Element.Type, _ keys: KeyStretch, _ segments: [RowSegment],
    _ mask: (RowSegment) -> TileMask?, _ rule: (RowSegment) -> TileRule?
  ) {
    let count = unsafe keys.count
    unsafe computeScores(type, keys)
    for segment in segments {
      unsafe rule(segment)?.apply(
        to: scoreRow(segment.firstRow), stride: TileSizes.scoreStride, keys: 0..<count,
        queries: 0..<segment.positions.count)
    }
    var visible = 0..<(count + TileSizes.panelWidth - 1) / TileSizes.panelWidth
    unsafe hideScores(from: count, to: visible.upperBound * TileSizes.panelWidth)
    if segments.contains(where: { mask($0) != nil }) {
      unsafe visible = hideScores(segments, count: count, mask)
    }
    for group in visiblePanels.indices { visiblePanels[group] = visible }
    if visible.isEmpty { return }
    unsafe computeWeights()
    if Element.isFactored { unsafe multiplyWeights(type, keys) }
    unsafe accumulateOutputs(type, keys, visible)
  }

  @unsafe @inline(__always)
  private func scoreRow(_ row: Int) -> UnsafeMutablePointer<Float> {
    unsafe scores.unsafeBaseAddress + row * TileSizes.scoreStride
  }

  // MARK: Scores

  @unsafe
  private func computeScores<Element: PanelElement>(_ type: Element.Type, _ keys: KeyStretch) {
    let (head, first) = unsafe (keys.head, keys.first)
    let width = TileSizes.panelWidth
    let source =
      unsafe UnsafePointer(head.keys.assumingMemoryBound(to: Element.self)) + first * headDim
    let scales = unsafe head.keyScales(from: first)
    let panels = unsafe keys.count / width
    unsafe forEachStrip(panels: panels) { form, row, panel in
      unsafe computeScores(
        form, row: row, panel: panel, keys: source + panel * width * headDim,
        scales: scales + panel * width * MemoryLayout<Float>.stride, reads: true)
    }
    let rest = unsafe keys.count - panels * width
    if rest == 0 { return }
    unsafe spread(
      source + panels * width * headDim, width: rest, to: keys.scratch, rows: headDim
    ) { _, key in unsafe Element.scale(scales, at: panels * width + key) }
    unsafe forEachStrip(panels: 1) { form, row, _ in
      unsafe computeScores(
        form, row: row, panel: panels, keys: UnsafePointer(keys.scratch), scales: scales,
        reads: false)
    }
  }

  /// Scores of the rows and panels of a strip.
  ///
  /// - Parameter reads: whether keys come from memory.
  @unsafe @inline(__always)
  private func computeScores<Element: PanelElement>(
    _ form: RowStrip.Form, row: Int, panel: Int, keys: UnsafePointer<Element>,
    scales: UnsafeRawPointer, reads: Bool
  ) {
    let (height, width) = (TileSizes.registerRows, TileSizes.panelWidth)
    let operands = unsafe RowStrip.Operands(
      rows: queries.unsafeBaseAddress + row / height * height * headDim + row % height,
      rowStride: 1, stepStride: height, panels: keys, distance: width * headDim, steps: headDim,
      scales: scales, scalesColumns: true)
    var strip = RowStrip()
    if reads, row == 0 {
      let stepBytes = 4 * width * MemoryLayout<Element>.stride
      unsafe strip.accumulate(
        form, operands,
        ahead: RowStrip.ReadAhead(
          bytes: 16 << 10, distance: stepBytes, stride: form.panels * stepBytes))
    } else {
      unsafe strip.accumulate(form, operands, ahead: nil)
    }
    unsafe strip.forEach(form) { result, index, offset in
      var result = Element.ordered(result)
      if Element.isFactored {
        unsafe result *= Element.scaleRow(scales, at: offset * width) * Element.unit
      }
      unsafe result.store(to: scoreRow(row + index) + (panel + offset) * width)
    }
  }

  /// Hides some columns of all rows.
  @unsafe
  private func hideScores(from begin: Int, to end: Int) {
    if begin == end { return }
    for row in 0..<rows {
      for key in begin..<end { unsafe scoreRow(row)[key] = -.infinity }
    }
  }

  /// Adds biases and hides what is not seen.
  ///
  /// - Returns: the panels that any row sees.
  @unsafe
  private func hideScores(
    _ segments: [RowSegment], count: Int, _ mask: (RowSegment) -> TileMask?
  ) -> Range<Int> {
    let width = TileSizes.panelWidth
    let panels = (count + width - 1) / width
    var (lower, upper) = (panels, 0)
    for segment in segments {
      guard let mask = mask(segment) else { return 0..<panels }
      for panel in 0..<panels {
        let columns = panel * width..<min((panel + 1) * width, count)
        let keys = mask.keys.slice(columns)
        // As many rows at a time as there is room for biases.
        for first in stride(from: 0, to: segment.positions.count, by: TileSizes.registerRows) {
          let part = first..<min(first + TileSizes.registerRows, segment.positions.count)
          let queries = mask.queries.slice(part)
          let row = segment.firstRow + first
          let coverage = mask.pattern.coverage(keys: keys, queries: queries)
          if coverage == .none {
            for row in row..<row + part.count {
              for key in columns { unsafe scoreRow(row)[key] = -.infinity }
            }
            continue
          }
          (lower, upper) = (min(lower, panel), max(upper, panel + 1))
          if coverage == .some || mask.pattern.hasBias {
            unsafe mask.addBias(
              to: scoreRow(row) + panel * width, stride: TileSizes.scoreStride, keys: keys,
              queries: queries, scratch: bias)
          }
        }
      }
    }
    return lower < upper ? lower..<upper : 0..<0
  }

  // MARK: Outputs

  /// Multiplies weights by the scales of their values.
  @unsafe
  private func multiplyWeights<Element: PanelElement>(_ type: Element.Type, _ keys: KeyStretch) {
    let scales = unsafe keys.head.valueScales(from: keys.first)
    for row in 0..<rows {
      for key in 0..<keys.count {
        unsafe scoreRow(row)[key] *= Element.scale(scales, at: key) * Element.unit
      }
    }
  }

  @unsafe
  private func accumulateOutputs<Element: PanelElement>(
    _ type: Element.Type, _ keys: KeyStretch, _ visible: Range<Int>
  ) {
    let head = unsafe keys.head
    let width = TileSizes.panelWidth
    let begin = visible.lowerBound * width
    let first = unsafe keys.first + begin
    let steps = unsafe min(visible.upperBound * width, keys.count) - begin
    let source = unsafe UnsafePointer(head.values.assumingMemoryBound(to: Element.self))
    let scales = unsafe head.valueScales(from: first)
    let panels = valueHeadDim / width
    let distance = unsafe width * head.count
    unsafe forEachStrip(panels: panels) { form, row, panel in
      unsafe accumulateOutputs(
        form, row: row, panel: panel, begin: begin, steps: steps,
        values: source + panel * distance + first * width, distance: distance, scales: scales,
        reads: true)
    }
    let rest = valueHeadDim - panels * width
    if rest == 0 { return }
    unsafe spread(
      source + panels * distance + first * rest, width: rest, to: keys.scratch, rows: steps
    ) { key, _ in
      // The weights have the scales then.
      unsafe Element.isFactored ? 1 / Element.unit : Element.scale(scales, at: key)
    }
    unsafe forEachStrip(panels: 1) { form, row, _ in
      unsafe accumulateOutputs(
        form, row: row, panel: panels, begin: begin, steps: steps,
        values: UnsafePointer(keys.scratch), distance: 0, scales: scales, reads: false)
    }
  }

  /// Weights times values of the rows and panels of a strip.
  ///
  /// - Parameter reads: whether values come from memory.
  @unsafe @inline(__always)
  private func accumulateOutputs<Element: PanelElement>(
    _ form: RowStrip.Form, row: Int, panel: Int, begin: Int, steps: Int,
    values: UnsafePointer<Element>, distance: Int, scales: UnsafeRawPointer, reads: Bool
  ) {
    let operands = unsafe RowStrip.Operands(
      rows: UnsafePointer(scoreRow(row)) + begin, rowStride: TileSizes.scoreStride,
      stepStride: 1, panels: values, distance: distance, steps: steps, scales: scales,
      scalesColumns: false)
    var strip = RowStrip()
    if reads, row == 0 {
      unsafe strip.accumulate(
        form, operands,
        ahead: RowStrip.ReadAhead(
          bytes: 4 << 10, distance: distance * MemoryLayout<Element>.stride,
          stride: 4 * TileSizes.panelWidth * MemoryLayout<Element>.stride))
    } else {
      unsafe strip.accumulate(form, operands, ahead: nil)
    }
    unsafe strip.forEach(form) { result, index, offset in
      unsafe Element.ordered(result).add(to: outputRow(panel: panel + offset, row: row + index))
    }
  }

  // MARK: Strips

  /// Cuts all rows and `panels` panels into strips. All rows pass over four panels, which stay in
  /// the first-level cache, before the next.
  ///
  /// There is room for six rows at a time. Those past the last are computed too, where a strip has
  /// them, and mean nothing.
  @unsafe @inline(__always)
  private func forEachStrip(
    panels: Int, _ body: (_ form: RowStrip.Form, _ row: Int, _ panel: Int) -> Void
  ) {
    var panel = 0
    while panel < panels {
      let count = panel + 4 <= panels ? 4 : 1
      var row = 0
      while row < rows {
        switch RowStrip.Form(rows: rows - row) {
        case .oneRow where count == 4:
          body(.oneRow, row, panel)
          row += 1
        case .twoRows where count == 4:
          body(.twoRows, row, panel)
          body(.twoRows, row, panel + 2)
          row += 2
        case .sixRows:
          for panel in panel..<panel + count { body(.sixRows, row, panel) }
          row += 6
        default:
          for panel in panel..<panel + count { body(.fourRows, row, panel) }
          row += 4
        }
      }
      panel += count
    }
  }
}
