import AttentionTypes
import Tensors

/// Both products, of packed elements that are read where they lie, in strips of rows and panels.
extension FewRowsTile {
  // MARK: Scores

  /// Products of queries and keys.
  @unsafe
  func computeScores<Element: PanelElement>(_ type: Element.Type, _ keys: KeyStretch) {
    let (head, first) = unsafe (keys.head, keys.first)
    let source =
      unsafe UnsafePointer(head.keys.assumingMemoryBound(to: Element.self)) + first * headDim
    let scales = unsafe head.keyScales(from: first)
    // Whole panels are read even where their last keys are not asked for.
    let panels = unsafe min(
      (keys.count + Self.width - 1) / Self.width, (head.count - first) / Self.width)
    let asks = asksAhead(type)
    unsafe forEachStrip(panels: panels, areNeighbours: asks) { form, row, panel, spacing in
      unsafe computeScores(
        form, row: row, panel: panel, spacing: spacing,
        keys: source + panel * Self.width * headDim,
        scales: scales + panel * Self.width * MemoryLayout<Float>.stride,
        asks: asks && row == 0)
    }
    let rest = unsafe keys.count - panels * Self.width
    if rest <= 0 { return }
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
    let size = MemoryLayout<Element>.stride
    // Neighbours are asked for in the order in which they lie.
    unsafe strip.accumulate(
      form, operands,
      ahead: asks
        ? RowStrip.ReadAhead(
          distance: 64 &* size, stride: form.panels &* Self.width &* size, bytes: 32 << 10) : nil)
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

  // MARK: Outputs

  /// Adds products of weights and values to the outputs.
  @unsafe
  func accumulateOutputs<Element: PanelElement>(
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
    let size = MemoryLayout<Element>.stride
    unsafe strip.accumulate(
      form, operands,
      ahead: asks
        ? RowStrip.ReadAhead(
          distance: distance &* size, stride: Self.width &* size, bytes: 8 << 10) : nil)
    unsafe strip.forEach(form) { result, index, offset in
      unsafe Element.ordered(result)
        .add(to: outputRow(panel: panel &+ offset, row: row &+ index))
    }
  }

  // MARK: Strips

  /// Whether memory is asked for what comes later.
  ///
  /// One row of wide elements is better off without, along streams that are as long as can be.
  @inline(__always)
  private func asksAhead<Element: PanelElement>(_ type: Element.Type) -> Bool {
    isExact || rows > 1 || Element.asksAhead
  }

  /// Cuts all rows and `panels` panels into strips.
  ///
  /// All rows pass over four panels, which stay in the first-level cache, before the next. Rows
  /// past the last are computed too where a strip has them, and mean nothing.
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
