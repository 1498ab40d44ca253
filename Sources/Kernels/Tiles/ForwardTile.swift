import AttentionTypes
import Tensors

/// The state of one tile of queries while tiles of keys stream past it: online softmax.
///
/// For each row, `rowMax` is the largest score so far, rounded up to an integer, `rowSum` the sum
/// of `2^(score − rowMax)`, and `outputs` the same sum weighted by the values. A tile of keys is
/// taken in three passes: scores, weights, outputs. Scores are in base 2: the softmax scale times
/// log₂e is folded into the queries when they are packed, or multiplies scores as they are stored.
/// After some tiles the state is added to sums outside, which lose nothing however many there are,
/// and the rows start anew.
///
/// Source: Dao 2023, FlashAttention-2, Algorithm 1.
struct ForwardTile<Element: Factor>: ~Copyable {
  let headDim: Int
  let valueHeadDim: Int
  /// What has been found out about the rows.
  var results: RowResults
  /// Multiplies scores, with log₂e, if they are not scaled yet.
  var scoreScale: Float = 1
  /// What scores of the tile of keys that is taken in still lack.
  private var missingScale: Float = 1

  /// `[rows][steps]`, or where products take runs of R factors, R being ``Factor/stepRun``,
  /// `[groups of H rows][steps / R][H][R]`, H being ``Factor/groupRows``; rows past the last are
  /// zero.
  let queries: AlignedBuffer<Element>
  /// `[rows][scoreStride]`: scores, then, as factors at the start of each row, weights.
  let scores: AlignedBuffer<Float>
  /// For each group of rows, the panels of keys that any of them sees.
  var visiblePanels: [Range<Int>]
  /// The keys among them that weights are multiplied by the values of.
  private var visibleKeys: [Range<Int>]
  /// Whether there is anything yet that products of a group are to be added to.
  private var hasOutputs: [Bool]
  /// What each row sees of a leaf, as far as that was asked.
  var ranges = RowRanges(capacity: Element.queries, height: Element.groupRows)
  /// The keys that come next, which are asked for while scores are computed.
  var ahead: KeysAhead?
  /// What the pattern adds to one register tile.
  let bias: AlignedBuffer<Float>
  /// What the pattern says of the tile of keys that is taken in.
  private var edges = EdgeCoverage(groups: Element.queries / Element.groupRows, keys: Element.keys)

  init(shape: AttentionShape) {
    headDim = shape.headDim
    valueHeadDim = shape.valueHeadDim
    results = RowResults(capacity: Element.queries, valueHeadDim: shape.valueHeadDim)
    queries = AlignedBuffer(
      repeating: .zero, count: Element.queries * Element.steps(of: shape.headDim))
    scores = AlignedBuffer(zeros: Element.queries * Element.scoreStride)
    visiblePanels = Array(
      repeating: 0..<0, count: Element.queries / Element.groupRows)
    visibleKeys = visiblePanels
    hasOutputs = visiblePanels.map { _ in false }
    bias = AlignedBuffer(zeros: Element.groupRows * TileSizes.panelWidth)
  }

  /// Rows in use.
  var rows: Int { results.rows }

  var groups: Int {
    (rows + Element.groupRows - 1) / Element.groupRows
  }

  /// Starts with rows that have seen nothing.
  mutating func clearState() {
    results.clear()
    for group in 0..<groups { hasOutputs[group] = false }
  }

  // MARK: One tile of keys

  /// Takes a tile of keys into the state.
  ///
  /// - Parameters:
  ///   - mask: what the rows see of the tile; nil if everything, with nothing added.
  ///   - rule: what becomes of scores; nil if nothing does.
  @unsafe
  mutating func attend(
    to tile: borrowing KeyTile<Element>, mask: borrowing TileMask?, rule: borrowing TileRule?
  ) {
    switch mask {
    case .none:
      leaveScale(toSoftmax: rule == nil)
      unsafe computeScores(tile, rule)
    case .some(let mask):
      leaveScale(toSoftmax: rule == nil && !mask.pattern.hasBias)
      unsafe computeScores(tile, mask, rule)
    }
    unsafe computeWeights()
    unsafe accumulateOutputs(tile)
  }

  /// Takes a tile of keys of which rows see what ``ranges`` say into the state.
  ///
  /// - Parameters:
  ///   - keys: which of the leaf they are.
  ///   - rule: what becomes of scores; nil if nothing does.
  @unsafe
  mutating func attend(
    to tile: borrowing KeyTile<Element>, keys: Range<Int>, rule: borrowing TileRule?
  ) {
    leaveScale(toSoftmax: rule == nil)
    unsafe computeScores(tile, keys, rule)
    unsafe computeWeights()
    unsafe accumulateOutputs(tile)
  }

  /// Decides who scales the scores of a tile of keys.
  ///
  /// Softmax looks for the largest score first, which is that of the smallest product if the scale
  /// is negative.
  private mutating func leaveScale(toSoftmax isAllowed: Bool) {
    missingScale = Element.softmaxScalesScores && isAllowed && scoreScale > 0 ? scoreScale : 1
  }

  /// Pass 1, everything visible.
  @unsafe
  private mutating func computeScores(
    _ tile: borrowing KeyTile<Element>, _ rule: borrowing TileRule?
  ) {
    let panelCount = tile.panelCount
    for panel in 0..<panelCount {
      for group in 0..<groups { unsafe computeScores(tile, panel: panel, group: group) }
      switch rule {
      case .none: break
      case .some(let rule):
        let first = panel * TileSizes.panelWidth
        unsafe rule.apply(
          to: scoreTile(panel: panel, group: 0), stride: Element.scoreStride,
          keys: first..<min(first + TileSizes.panelWidth, tile.count), queries: 0..<rows)
      }
    }
    unsafe hideScoresPastEnd(of: tile)
    for group in 0..<groups {
      visiblePanels[group] = 0..<panelCount
      visibleKeys[group] = 0..<tile.count
    }
  }

  /// Pass 1 where it is known which keys rows see: nothing is asked any more.
  @unsafe
  private mutating func computeScores(
    _ tile: borrowing KeyTile<Element>, _ keys: Range<Int>, _ rule: borrowing TileRule?
  ) {
    let width = TileSizes.panelWidth
    for group in 0..<groups {
      let seen = ranges.seen(by: group, of: keys)
      visibleKeys[group] = seen
      visiblePanels[group] =
        seen.isEmpty ? 0..<0 : seen.lowerBound / width..<(seen.upperBound + width - 1) / width
    }
    for panel in 0..<tile.panelCount {
      for group in 0..<groups where visiblePanels[group].contains(panel) {
        unsafe computeScores(tile, panel: panel, group: group)
      }
    }
    for group in 0..<groups where !visiblePanels[group].isEmpty {
      let first = visiblePanels[group].lowerBound * width
      let columns = visiblePanels[group].count * width
      let ofColumns =
        keys.lowerBound + first..<min(keys.lowerBound + first + columns, keys.upperBound)
      let scores = unsafe scoreTile(panel: visiblePanels[group].lowerBound, group: group)
      switch rule {
      case .none: break
      case .some(let rule):
        unsafe rule.apply(
          to: scores, stride: Element.scoreStride, keys: first..<first + ofColumns.count,
          queries: rows(of: group))
      }
      if ofColumns.count == columns && ranges.allSee(ofColumns, group: group) { continue }
      unsafe ranges.hide(
        scores, stride: Element.scoreStride, keys: ofColumns, columns: columns, group: group)
    }
  }

  /// Pass 1 under a mask: register tiles that are hidden cost nothing, and only those on an edge
  /// of the visible region ask the pattern for a bias.
  ///
  /// Most groups of rows see all of a tile, or nothing, and the pattern is asked about that first.
  /// What it hides is hidden last, so that a rule never meets it.
  @unsafe
  private mutating func computeScores(
    _ tile: borrowing KeyTile<Element>, _ mask: borrowing TileMask, _ rule: borrowing TileRule?
  ) {
    let panels = tile.panelCount
    for group in 0..<groups {
      visiblePanels[group] = 0..<0
      visibleKeys[group] = 0..<0
      edges.ofGroups[group] = mask.coverage(keys: 0..<tile.count, queries: rows(of: group))
    }
    for panel in 0..<panels {
      for group in 0..<groups {
        var coverage = edges.ofGroups[group]
        if coverage == .none { continue }
        if coverage == .some {
          coverage = mask.coverage(keys: keys(of: panel, in: tile), queries: rows(of: group))
          edges.ofTiles[group * edges.panels + panel] = coverage
          if coverage == .none { continue }
        }
        let seen = visiblePanels[group]
        visiblePanels[group] = (seen.isEmpty ? panel : seen.lowerBound)..<panel + 1
        unsafe computeScores(tile, panel: panel, group: group)
      }
    }
    for group in 0..<groups where !visiblePanels[group].isEmpty {
      let seen = visiblePanels[group]
      let columns =
        seen.lowerBound
        * TileSizes.panelWidth..<min(seen.upperBound * TileSizes.panelWidth, tile.count)
      visibleKeys[group] = columns
      switch rule {
      case .none: break
      case .some(let rule):
        unsafe rule.apply(
          to: scoreTile(panel: seen.lowerBound, group: group), stride: Element.scoreStride,
          keys: columns, queries: rows(of: group))
      }
      let isEdge = edges.ofGroups[group] == .some
      guard isEdge || mask.pattern.hasBias else { continue }
      for panel in seen {
        let coverage = isEdge ? edges.ofTiles[group * edges.panels + panel] : .all
        if coverage == .none {
          unsafe hideScores(panel: panel, group: group)
        } else if coverage == .some || mask.pattern.hasBias {
          unsafe mask.addBias(
            to: scoreTile(panel: panel, group: group), stride: Element.scoreStride,
            keys: mask.keys.slice(keys(of: panel, in: tile)),
            queries: mask.queries.slice(rows(of: group)), scratch: bias)
        }
      }
    }
    unsafe hideScoresPastEnd(of: tile)
  }

  /// The rows of a group.
  private func rows(of group: Int) -> Range<Int> {
    group * Element.groupRows..<min((group + 1) * Element.groupRows, rows)
  }

  /// The keys of a panel.
  private func keys(of panel: Int, in tile: borrowing KeyTile<Element>) -> Range<Int> {
    panel * TileSizes.panelWidth..<min((panel + 1) * TileSizes.panelWidth, tile.count)
  }

  @unsafe @inline(__always)
  private mutating func computeScores(
    _ tile: borrowing KeyTile<Element>, panel: Int, group: Int
  ) {
    ahead?.ask()
    let isScaled = Element.scalesScores && !(Element.softmaxScalesScores && missingScale != 1)
    unsafe Element.multiply(
      rows: queries.unsafeBaseAddress + group * Element.groupRows * tile.keySteps,
      rowStride: rowStride, runStride: runStride, panel: tile.keyPanel(panel), steps: tile.keySteps,
      scale: isScaled ? scoreScale : nil,
      to: scoreTile(panel: panel, group: group), stride: Element.scoreStride, adding: false)
  }

  @unsafe @inline(__always)
  func scoreTile(panel: Int, group: Int) -> UnsafeMutablePointer<Float> {
    unsafe scores.unsafeBaseAddress + group * Element.groupRows * Element.scoreStride
      + panel * TileSizes.panelWidth
  }

  /// The weights of a row, a factor for each ``Factor/depth`` of its keys: where its scores were.
  @unsafe @inline(__always)
  func weightRow(_ row: Int) -> UnsafeMutablePointer<Element> {
    unsafe UnsafeMutableRawPointer(scores.unsafeBaseAddress + row * Element.scoreStride)
      .assumingMemoryBound(to: Element.self)
  }

  @unsafe
  func hideScores(panel: Int, group: Int) {
    let target = unsafe scoreTile(panel: panel, group: group)
    let hidden = Vector(repeating: -.infinity)
    for row in 0..<Element.groupRows {
      unsafe hidden.store(to: target, at: row * Element.scoreStride)
      unsafe hidden.store(to: target, at: row * Element.scoreStride + Vector.width)
    }
  }

  /// The last panel of a run is filled up with zero keys, which must not be seen.
  @unsafe
  private func hideScoresPastEnd(of tile: borrowing KeyTile<Element>) {
    let end = tile.panelCount * TileSizes.panelWidth
    guard tile.count < end else { return }
    for row in 0..<groups * Element.groupRows {
      let scoreRow = unsafe scores.unsafeBaseAddress + row * Element.scoreStride
      for key in tile.count..<end { unsafe scoreRow[key] = -.infinity }
    }
  }

  /// Pass 2: scores become weights `2^(score − rowMax)`, and the state is brought to the new
  /// maximum.
  ///
  /// First the maxima of a group of rows, then their weights: a maximum has to be waited for, and
  /// the next ones are found meanwhile.
  @unsafe
  private func computeWeights() {
    let scale = Element.softmaxScalesScores ? missingScale : nil
    for group in 0..<groups {
      let panels = visiblePanels[group]
      if panels.isEmpty { continue }
      let keys =
        panels.lowerBound * TileSizes.panelWidth..<panels.upperBound * TileSizes.panelWidth
      for row in rows(of: group) {
        let factor = unsafe raiseMaximum(
          scores.unsafeBaseAddress + row * Element.scoreStride, keys, scale: scale,
          rowMax: &results.rowMax.unsafeBaseAddress[row],
          rowSum: &results.rowSum.unsafeBaseAddress[row])
        if let factor, hasOutputs[group] { results.rescale(row: row, by: factor) }
      }
      for row in rows(of: group) {
        let weights = unsafe weightRow(row)
        unsafe addWeights(
          scores.unsafeBaseAddress + row * Element.scoreStride, keys, scale: scale, into: weights,
          rowMax: results.rowMax.unsafeBaseAddress[row],
          rowSum: &results.rowSum.unsafeBaseAddress[row])
        if Element.roundsWeights {
          unsafe results.addRoundedWeights(Element.sum(of: weights, in: keys), row: row)
        }
      }
    }
  }

  /// Pass 3: weights times values.
  ///
  /// The products of a tile are summed by themselves before they join the output. Added one by one
  /// to a sum that a few large weights dominate, thousands of small ones would be rounded away.
  @unsafe
  private mutating func accumulateOutputs(_ tile: borrowing KeyTile<Element>) {
    for panel in 0..<results.valuePanels {
      let values = unsafe tile.valuePanel(panel)
      for group in 0..<groups {
        let keys = visibleKeys[group]
        if keys.isEmpty { continue }
        let row = group * Element.groupRows
        let output = unsafe results.outputRow(panel: panel, row: row)
        // Weights of whole panels are known, so whole runs of them are.
        let firstStep = keys.lowerBound / (Element.depth * Element.stepRun) * Element.stepRun
        unsafe Element.multiply(
          rows: weightRow(row) + firstStep, rowStride: Element.scoreStride,
          runStride: Element.stepRun, panel: values + firstStep * TileSizes.panelWidth,
          steps: Element.steps(of: keys.upperBound) - firstStep, scale: nil, to: output,
          stride: TileSizes.panelWidth, adding: hasOutputs[group])
      }
    }
    for group in 0..<groups where !visibleKeys[group].isEmpty { hasOutputs[group] = true }
  }
}
