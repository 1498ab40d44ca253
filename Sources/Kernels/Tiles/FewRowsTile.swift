import AttentionTypes
import Tensors

/// The state of few rows while keys and values stream past them, read once, where they lie.
///
/// Many rows pay for copying keys to scratch (``KeyTile``). For a handful the copy is most of the
/// work, and what counts is how fast memory can be read. The rows are those of all query heads that
/// read a KV head; a register holds a panel's row for as many of them as there are.
///
/// The three passes of a ``ForwardTile`` go over ``keysAtOnce`` keys: processors look ahead in
/// memory along streams, and lose time at the start of each.
///
/// Where `isExact`, a row's bits are those of a ``ForwardTile``. Otherwise more keys share a
/// maximum, and scales are taken out of products.
///
/// Source: Dao 2023, FlashAttention-2, Algorithm 1.
struct FewRowsTile: ~Copyable {
  /// The most rows for which this is faster than a ``ForwardTile``.
  static var mostRows: Int { 48 }

  /// Keys that are taken in at once.
  let keysAtOnce: Int
  private let isExact: Bool
  private let headDim: Int
  private let valueHeadDim: Int
  private let valuePanels: Int
  /// Rows that there is room for.
  private let capacity: Int
  private var segments: [RowSegment] = []
  /// Whether queries are small enough for scales to be taken out of products.
  private var isFactorable = false

  /// `[groups of 6 rows][headDim][6]`, scaled.
  private let queries: AlignedBuffer<Float>
  /// `[rows][scoreStride]`: scores, then weights.
  private let scores: AlignedBuffer<Float>
  private let scoreStride: Int
  /// `[valuePanels][rows][W]`.
  private let outputs: AlignedBuffer<Float>
  private let rowMax: AlignedBuffer<Float>
  private let rowSum: AlignedBuffer<Float>
  /// What the pattern adds to some rows of a panel.
  private let bias: AlignedBuffer<Float>
  /// A panel that is not W wide, widened and filled up.
  private let narrow: AlignedBuffer<Float>

  @inline(__always) private static var width: Int { PackedPanel.width }
  @inline(__always) private static var height: Int { TileSizes.registerRows }

  /// Queries below this keep factored products finite, whatever the keys.
  private static var largestFactored: Float { 0x1p64 }

  /// Makes room for rows.
  ///
  /// - Parameters:
  ///   - rows: at most.
  ///   - isExact: whether bits must be those of a ``ForwardTile``.
  init(shape: AttentionShape, rows: Int, isExact: Bool) {
    self.isExact = isExact
    keysAtOnce = isExact ? TileSizes.keys : Accumulation.leaf
    headDim = shape.headDim
    valueHeadDim = shape.valueHeadDim
    valuePanels = (valueHeadDim + Self.width - 1) / Self.width
    // The last strip may have three rows too many.
    capacity = (rows + 3 + Self.height - 1) / Self.height * Self.height
    queries = AlignedBuffer(zeros: capacity * headDim)
    // The extra 16 keep rows out of one cache set.
    scoreStride = keysAtOnce + 16
    scores = AlignedBuffer(zeros: capacity * scoreStride)
    outputs = AlignedBuffer(zeros: valuePanels * capacity * Self.width)
    rowMax = AlignedBuffer(zeros: capacity)
    rowSum = AlignedBuffer(zeros: capacity)
    bias = AlignedBuffer(zeros: Self.height * Self.width)
    narrow = AlignedBuffer(zeros: Self.width * max(headDim, keysAtOnce))
  }

  // MARK: Loading and storing the state

  /// Rows in use.
  var rows: Int { segments.last?.rows.upperBound ?? 0 }

  /// What the rows have found out; valid for as long as the tile is.
  var state: LeafState {
    unsafe LeafState(
      rows: rows, rowMax: rowMax.unsafeBaseAddress, rowSum: rowSum.unsafeBaseAddress,
      outputs: outputs.unsafeBaseAddress, panelWidth: Self.width,
      panelStride: capacity * Self.width, valuePanels: valuePanels)
  }

  /// Takes up the queries of all segments.
  ///
  /// - Parameters:
  ///   - queries: of a sequence, `[tokens, queryHeads, headDim]`.
  ///   - scale: multiplies the scores, with log₂e folded in.
  @unsafe
  mutating func load(
    queries source: UnsafePointer<Float>, queryHeads: Int, segments: [RowSegment], scale: Float
  ) {
    self.segments = segments
    unsafe queries.unsafeBaseAddress.update(repeating: 0, count: queries.count)
    var largest: Float = 0
    for segment in segments {
      for (index, row) in segment.rows.enumerated() {
        let query =
          unsafe source + ((segment.firstToken + index) * queryHeads + segment.head) * headDim
        let column = unsafe queryColumn(row)
        for d in 0..<headDim {
          let number = unsafe query[d] * scale
          unsafe column[d * Self.height] = number
          largest = max(largest, abs(number))
        }
      }
    }
    isFactorable = largest < Self.largestFactored
  }

  /// Where a row begins in the packed queries.
  @unsafe @inline(__always)
  private func queryColumn(_ row: Int) -> UnsafeMutablePointer<Float> {
    unsafe queries.unsafeBaseAddress + row / Self.height * Self.height * headDim
      + row % Self.height
  }

  @unsafe @inline(__always)
  private func scoreRow(_ row: Int) -> UnsafeMutablePointer<Float> {
    unsafe scores.unsafeBaseAddress + row * scoreStride
  }

  @unsafe @inline(__always)
  private func outputRow(panel: Int, row: Int) -> UnsafeMutablePointer<Float> {
    unsafe outputs.unsafeBaseAddress + (panel * capacity + row) * Self.width
  }

  /// Starts with rows that have seen nothing.
  mutating func clearState() {
    unsafe rowMax.unsafeBaseAddress.update(repeating: -.infinity, count: rows)
    unsafe rowSum.unsafeBaseAddress.update(repeating: 0, count: rows)
    for panel in 0..<valuePanels {
      unsafe outputRow(panel: panel, row: 0).update(repeating: 0, count: rows * Self.width)
    }
  }

  // MARK: Some keys

  /// Takes some keys of a head into the state.
  ///
  /// - Parameters:
  ///   - head: packed keys and values.
  ///   - first: the first key, a multiple of W.
  ///   - count: at most ``keysAtOnce``.
  ///   - mask: what the rows of a segment see of them; nil if everything, with nothing added.
  ///   - rule: what becomes of their scores; nil if nothing does.
  @unsafe
  mutating func attend(
    to head: PackedHead, first: Int, count: Int, mask: (RowSegment) -> TileMask?,
    rule: (RowSegment) -> TileRule?
  ) {
    let keys = unsafe KeyStretch(head: head, first: first, count: count)
    switch unsafe head.elementType {
    case .f32: unsafe attend(Float.self, keys, mask, rule)
    case .f16: unsafe attend(Float16.self, keys, mask, rule)
    case .bf16: unsafe attend(BFloat16.self, keys, mask, rule)
    case .int8 where isExact || !isFactorable: unsafe attend(Int8.self, keys, mask, rule)
    case .int8: unsafe attend(FactoredInt8.self, keys, mask, rule)
    }
  }

  /// Some keys and values of a head.
  @unsafe
  private struct KeyStretch {
    let head: PackedHead
    let first: Int
    let count: Int
  }

  @unsafe @inline(__always)
  private mutating func attend<Element: PanelElement>(
    _ type: Element.Type, _ keys: KeyStretch, _ mask: (RowSegment) -> TileMask?,
    _ rule: (RowSegment) -> TileRule?
  ) {
    let count = unsafe keys.count
    unsafe computeScores(type, keys)
    for segment in segments {
      unsafe rule(segment)?.apply(
        to: scoreRow(segment.firstRow), stride: scoreStride, keys: 0..<count,
        queries: 0..<segment.positions.count)
    }
    let visible = unsafe hideScores(count: count, mask)
    if visible.isEmpty { return }
    unsafe computeWeights(visible)
    if Element.isFactored { unsafe multiplyWeights(type, keys) }
    unsafe accumulateOutputs(type, keys, visible)
  }

  // MARK: Scores

  @unsafe
  private func computeScores<Element: PanelElement>(_ type: Element.Type, _ keys: KeyStretch) {
    let (head, first) = unsafe (keys.head, keys.first)
    let source =
      unsafe UnsafePointer(head.keys.assumingMemoryBound(to: Element.self)) + first * headDim
    let scales = unsafe head.keyScales(from: first)
    let panels = unsafe keys.count / Self.width
    let asks = asksAhead(type)
    unsafe forEachStrip(panels: panels, areNeighbours: asks) { form, row, panel, spacing in
      unsafe computeScores(
        form, row: row, panel: panel, spacing: spacing,
        keys: source + panel * Self.width * headDim,
        scales: scales + panel * Self.width * MemoryLayout<Float>.stride,
        asks: asks && row == 0)
    }
    let rest = unsafe keys.count - panels * Self.width
    if rest == 0 { return }
    unsafe spread(source + panels * Self.width * headDim, width: rest, rows: headDim) { _, key in
      unsafe Element.scale(scales, at: panels * Self.width + key)
    }
    unsafe forEachStrip(panels: 1, areNeighbours: true) { form, row, _, _ in
      unsafe computeScores(
        form, row: row, panel: panels, spacing: 1, keys: UnsafePointer(narrow.unsafeBaseAddress),
        scales: scales, asks: false)
    }
  }

  /// Scores of the rows and panels of a strip, `spacing` panels apart.
  @unsafe @inline(__always)
  private func computeScores<Element: PanelElement>(
    _ form: RowStrip.Form, row: Int, panel: Int, spacing: Int, keys: UnsafePointer<Element>,
    scales: UnsafeRawPointer, asks: Bool
  ) {
    let operands = unsafe RowStrip.Operands(
      rows: UnsafePointer(queryColumn(row)), rowStride: 1, stepStride: Self.height, panels: keys,
      distance: spacing &* Self.width &* headDim, steps: headDim, scales: scales,
      scaleDistance: spacing &* Self.width)
    var strip = RowStrip()
    // Neighbours are asked for in the order in which they lie.
    unsafe strip.accumulate(
      form, operands,
      ahead: asks
        ? RowStrip.ReadAhead(
          distance: RowStrip.bytesOfSteps(Element.self),
          stride: form.panels * RowStrip.bytesOfSteps(Element.self), bytes: 32 << 10) : nil)
    unsafe strip.forEach(form) { result, index, offset in
      var result = Element.ordered(result)
      if Element.isFactored {
        unsafe result *=
          Element.scaleRow(scales, at: offset &* spacing &* Self.width) * Element.unit
      }
      unsafe result.store(
        to: scoreRow(row &+ index) + (panel &+ offset &* spacing) &* Self.width)
    }
  }

  /// Adds biases, and hides what is not seen and what is past the last key.
  ///
  /// - Returns: the keys that any row sees, in whole panels of ``TileSizes/panelWidth``.
  @unsafe
  private func hideScores(count: Int, _ mask: (RowSegment) -> TileMask?) -> Range<Int> {
    let wide = TileSizes.panelWidth
    let end = (count + wide - 1) / wide * wide
    for row in 0..<rows { unsafe hide(count..<end, row: row) }
    var (lower, upper) = (end, 0)
    for segment in segments {
      guard let mask = mask(segment) else { return 0..<end }
      for first in stride(from: 0, to: count, by: Self.width) {
        let columns = first..<min(first + Self.width, count)
        guard unsafe addBias(mask, to: segment, columns) else { continue }
        (lower, upper) = (min(lower, first), max(upper, columns.upperBound))
      }
    }
    if lower >= upper { return 0..<0 }
    return lower / wide * wide..<(upper + wide - 1) / wide * wide
  }

  /// Adds biases to some scores of a segment, as many rows at a time as there is room for.
  ///
  /// - Returns: whether any of them is seen.
  @unsafe
  private func addBias(_ mask: TileMask, to segment: RowSegment, _ columns: Range<Int>) -> Bool {
    let keys = mask.keys.slice(columns)
    var isSeen = false
    for first in stride(from: 0, to: segment.positions.count, by: Self.height) {
      let part = first..<min(first + Self.height, segment.positions.count)
      let queries = mask.queries.slice(part)
      let coverage = mask.pattern.coverage(keys: keys, queries: queries)
      if coverage == .none {
        for row in part { unsafe hide(columns, row: segment.firstRow + row) }
        continue
      }
      isSeen = true
      if coverage == .some || mask.pattern.hasBias {
        unsafe mask.addBias(
          to: scoreRow(segment.firstRow + first) + columns.lowerBound, stride: scoreStride,
          keys: keys, queries: queries, scratch: bias)
      }
    }
    return isSeen
  }

  @unsafe
  private func hide(_ columns: Range<Int>, row: Int) {
    for key in columns { unsafe scoreRow(row)[key] = -.infinity }
  }

  // MARK: Weights

  @unsafe
  private func computeWeights(_ visible: Range<Int>) {
    for row in 0..<rows {
      let factor = unsafe weigh(
        scoreRow(row), visible, rowMax: &rowMax.unsafeBaseAddress[row],
        rowSum: &rowSum.unsafeBaseAddress[row])
      guard let factor else { continue }
      for panel in 0..<valuePanels {
        let output = unsafe outputRow(panel: panel, row: row)
        for first in stride(from: 0, to: Self.width, by: Vector.width) {
          unsafe (Vector(loading: output, at: first) * factor).store(to: output, at: first)
        }
      }
    }
  }

  /// Multiplies weights by the scales of their values.
  @unsafe
  private func multiplyWeights<Element: PanelElement>(_ type: Element.Type, _ keys: KeyStretch) {
    let scales = unsafe keys.head.valueScales(from: keys.first)
    let unit = Vector(repeating: Element.unit)
    for row in 0..<rows {
      let weights = unsafe scoreRow(row)
      var key = 0
      while unsafe key + Vector.width <= keys.count {
        unsafe (Vector(loading: weights, at: key) * (Element.scales(scales, at: key) * unit))
          .store(to: weights, at: key)
        key += Vector.width
      }
      while unsafe key < keys.count {
        unsafe weights[key] *= Element.scale(scales, at: key) * Element.unit
        key += 1
      }
    }
  }

  // MARK: Outputs

  @unsafe
  private func accumulateOutputs<Element: PanelElement>(
    _ type: Element.Type, _ keys: KeyStretch, _ visible: Range<Int>
  ) {
    let head = unsafe keys.head
    let source =
      unsafe UnsafePointer(head.values.assumingMemoryBound(to: Element.self))
    let panels = valueHeadDim / Self.width
    let rest = valueHeadDim - panels * Self.width
    let end = unsafe min(visible.upperBound, keys.count)
    let asks = asksAhead(type)
    let scales = unsafe head.valueScales(from: keys.first)
    unsafe forEachStrip(panels: panels, areNeighbours: true) { form, row, panel, _ in
      // Products of a tile of keys are summed by themselves before they join the output.
      for begin in stride(from: visible.lowerBound, to: end, by: TileSizes.keys) {
        unsafe accumulateOutputs(
          form, row: row, panel: panel, keys: begin..<min(begin + TileSizes.keys, end),
          values: source + (panel * head.count + keys.first + begin) * Self.width,
          distance: head.count * Self.width, scales: scales, asks: asks && row == 0)
      }
    }
    if rest == 0 { return }
    for begin in stride(from: visible.lowerBound, to: end, by: TileSizes.keys) {
      let steps = begin..<min(begin + TileSizes.keys, end)
      let first = unsafe keys.first + begin
      unsafe spread(
        source + panels * Self.width * head.count + first * rest, width: rest, rows: steps.count
      ) { key, _ in
        // Weights have the scales then.
        unsafe Element.isFactored ? 1 / Element.unit : Element.scale(scales, at: begin + key)
      }
      unsafe forEachStrip(panels: 1, areNeighbours: true) { form, row, _, _ in
        unsafe accumulateOutputs(
          form, row: row, panel: panels, keys: steps,
          values: UnsafePointer(narrow.unsafeBaseAddress), distance: 0, scales: scales,
          asks: false)
      }
    }
  }

  /// Weights times values of the rows and panels of a strip.
  @unsafe @inline(__always)
  private func accumulateOutputs<Element: PanelElement>(
    _ form: RowStrip.Form, row: Int, panel: Int, keys: Range<Int>,
    values: UnsafePointer<Element>, distance: Int, scales: UnsafeRawPointer, asks: Bool
  ) {
    let operands = unsafe RowStrip.Operands(
      rows: UnsafePointer(scoreRow(row)) + keys.lowerBound, rowStride: scoreStride,
      stepStride: 1, panels: values, distance: distance, steps: keys.count,
      scales: scales + keys.lowerBound * MemoryLayout<Float>.stride, scaleDistance: nil)
    var strip = RowStrip()
    unsafe strip.accumulate(
      form, operands,
      ahead: asks
        ? RowStrip.ReadAhead(
          distance: distance &* MemoryLayout<Element>.stride,
          stride: RowStrip.bytesOfSteps(Element.self), bytes: 8 << 10) : nil)
    unsafe strip.forEach(form) { result, index, offset in
      unsafe Element.ordered(result)
        .add(to: outputRow(panel: panel &+ offset, row: row &+ index))
    }
  }

  // MARK: Strips

  /// Whether memory is asked for what comes later. One row of wide elements is better off without,
  /// along streams that are as long as can be.
  @inline(__always)
  private func asksAhead<Element: PanelElement>(_ type: Element.Type) -> Bool {
    isExact || rows > 1 || Element.asksAhead
  }

  /// Cuts all rows and `panels` panels into strips. All rows pass over four panels, which stay in
  /// the first-level cache, before the next.
  ///
  /// Rows past the last are computed too where a strip has them, and mean nothing.
  ///
  /// - Parameters:
  ///   - areNeighbours: whether panels of a strip lie side by side. Otherwise they are a quarter of
  ///     all apart: four streams that are as long as can be.
  ///   - body: takes the first row and panel of a strip, and how many panels its own are apart.
  @unsafe @inline(__always)
  private func forEachStrip(
    panels: Int, areNeighbours: Bool,
    _ body: (_ form: RowStrip.Form, _ row: Int, _ panel: Int, _ spacing: Int) -> Void
  ) {
    let quarter = panels / 4
    for group in 0..<quarter {
      let (first, spacing) = areNeighbours ? (4 * group, 1) : (group, quarter)
      var row = 0
      while row < rows {
        let form = RowStrip.Form(rows: rows - row)
        for panel in stride(from: 0, to: 4, by: form.panels) {
          switch form {
          case .oneRow: body(.oneRow, row, first + panel * spacing, spacing)
          case .twoRows: body(.twoRows, row, first + panel * spacing, spacing)
          case .fourRows: body(.fourRows, row, first + panel * spacing, spacing)
          case .sixRows: body(.sixRows, row, first + panel * spacing, spacing)
          }
        }
        row += form.rows
      }
    }
    // One panel is as much work for four rows as for one.
    for panel in 4 * quarter..<panels {
      var row = 0
      while row < rows {
        if rows - row >= 6 {
          body(.sixRows, row, panel, 1)
          row += 6
        } else {
          body(.fourRows, row, panel, 1)
          row += 4
        }
      }
    }
  }

  /// Widens rows of `width` elements to rows of W, filling up with zeros.
  @unsafe @inline(__always)
  private func spread<Element: PackedElement>(
    _ source: UnsafePointer<Element>, width: Int, rows: Int,
    scale: (_ row: Int, _ column: Int) -> Float
  ) {
    let target = unsafe narrow.unsafeBaseAddress
    for row in 0..<rows {
      for column in 0..<Self.width {
        unsafe target[row * Self.width + column] =
          column < width ? source[row * width + column].widened * scale(row, column) : 0
      }
    }
  }
}

/// Rows of one query head among few.
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
