import AttentionTypes
import Tensors

/// Weights and gradients of the scores of one tile of queries and the tile of keys: two of the five
/// products.
extension BackwardTile {
  /// Collects the gradients of the keys and values, and prepares those of the queries.
  ///
  /// - Parameters:
  ///   - mask: what the rows see of the keys; nil if everything, with nothing added.
  ///   - rule: what becomes of scores; nil if nothing does.
  @unsafe
  mutating func attend(mask: borrowing TileMask?, rule: borrowing TileRule?) {
    switch mask {
    case .none:
      leaveScale(toWeights: RuleNeeds.hasNone(rule))
      unsafe computeWeights(rule)
    case .some(let mask):
      leaveScale(toWeights: RuleNeeds.hasNone(rule) && !mask.pattern.hasBias)
      unsafe computeWeights(mask, rule)
    }
    unsafe collect()
  }

  /// The same where rows see what ``ranges`` say of the keys.
  @unsafe
  mutating func attendToRanges(rule: borrowing TileRule?) {
    leaveScale(toWeights: RuleNeeds.hasNone(rule))
    unsafe computeRangeWeights(rule)
    unsafe collect()
  }

  /// Decides who scales scores: their products, or who makes them weights.
  private mutating func leaveScale(toWeights isAllowed: Bool) {
    missingScale = Element.softmaxScalesScores && isAllowed ? scoreScale : 1
  }

  /// Weights and gradients of the scores, everything visible.
  @unsafe
  private mutating func computeWeights(_ rule: borrowing TileRule?) {
    for group in 0..<groups {
      visiblePanels[group] = 0..<panels
      visibleKeys[group] = 0..<keys
    }
    for group in 0..<keyGroups { visibleGroups[group] = 0..<groups }
    let needs = RuleNeeds(rule)
    for panel in 0..<panels {
      for group in 0..<groups {
        unsafe computeScores(panel: panel, group: group)
        unsafe change(panel: panel, group: group, by: rule, needs)
        unsafe computeGradients(panel: panel, group: group, rule, needs)
      }
    }
  }

  /// Weights and gradients of the scores where it is known which keys rows see: nothing is asked.
  @unsafe
  private mutating func computeRangeWeights(_ rule: borrowing TileRule?) {
    for group in 0..<groups {
      let seen = ranges.seen(by: group, of: 0..<keys)
      visibleKeys[group] = seen
      visiblePanels[group] =
        seen.isEmpty
        ? 0..<0 : seen.lowerBound / Self.width..<(seen.upperBound + Self.width - 1) / Self.width
    }
    findVisibleGroups()
    let needs = RuleNeeds(rule)
    for panel in 0..<panels {
      for group in 0..<groups {
        if !visiblePanels[group].contains(panel) {
          unsafe clear(panel: panel, group: group)
          continue
        }
        unsafe computeScores(panel: panel, group: group)
        unsafe change(panel: panel, group: group, by: rule, needs)
        let columns = columns(of: panel)
        if !ranges.allSee(columns, group: group) {
          unsafe ranges.hide(
            scores.unsafeBaseAddress, stride: Self.width, keys: columns, columns: columns.count,
            group: group)
        }
        unsafe computeGradients(panel: panel, group: group, rule, needs)
      }
    }
  }

  /// For each group of keys, which groups of rows see any of them.
  private mutating func findVisibleGroups() {
    for keyGroup in 0..<keyGroups {
      let first = keyGroup * Self.height
      let keys = first..<first + Self.height
      var seen = 0..<0
      for group in 0..<groups where visibleKeys[group].overlaps(keys) {
        seen = extended(seen, by: group)
      }
      visibleGroups[keyGroup] = seen
    }
  }

  /// Groups of keys.
  private var keyGroups: Int { (keys + Self.height - 1) / Self.height }

  /// Weights and gradients of the scores under a mask: register tiles that are hidden cost nothing.
  @unsafe
  private mutating func computeWeights(_ mask: borrowing TileMask, _ rule: borrowing TileRule?) {
    for group in 0..<groups {
      visiblePanels[group] = 0..<0
      groupCoverage[group] = mask.coverage(keys: 0..<keys, queries: rows(of: group))
    }
    let needs = RuleNeeds(rule)
    for panel in 0..<panels {
      for group in 0..<groups {
        let coverage =
          groupCoverage[group] == .some
          ? mask.coverage(keys: columns(of: panel), queries: rows(of: group))
          : groupCoverage[group]
        if coverage == .none {
          unsafe clear(panel: panel, group: group)
          continue
        }
        visiblePanels[group] = extended(visiblePanels[group], by: panel)
        unsafe computeScores(panel: panel, group: group)
        unsafe change(panel: panel, group: group, by: rule, needs)
        if coverage == .some || mask.pattern.hasBias {
          unsafe mask.addBias(
            to: scores.unsafeBaseAddress, stride: Self.width,
            keys: mask.keys.slice(columns(of: panel)), queries: mask.queries.slice(rows(of: group)),
            scratch: edge)
        }
        unsafe computeGradients(panel: panel, group: group, rule, needs)
      }
    }
    for group in 0..<groups {
      let seen = visiblePanels[group]
      visibleKeys[group] = seen.lowerBound * Self.width..<min(seen.upperBound * Self.width, keys)
    }
    findVisibleGroups()
  }

  /// Where the factors of a register tile lie among weights and gradients of scores.
  @inline(__always)
  private func place(panel: Int, group: Int) -> Int {
    group * Self.height / Element.depth * Self.stepStride + panel * Self.panelStride
  }

  /// Factors between steps of weights and gradients of scores, and between panels of them.
  @inline(__always)
  static var stepStride: Int { isTransposed ? width : Element.backwardStride }
  @inline(__always)
  static var panelStride: Int {
    isTransposed ? Element.steps(of: Element.backwardQueries) * width : width
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
    let isScaled = Element.scalesScores && !(Element.softmaxScalesScores && missingScale != 1)
    let scale = isScaled ? scoreScale : nil
    if Self.sharesFactors {
      unsafe multiply(
        queries, headDim, group: group, keysAcross, panel: panel, scale: scale, to: scores)
    } else {
      unsafe multiply(
        queryRows, headDim, group: group, keysAcross, panel: panel, scale: scale, to: scores)
    }
  }

  /// Weights and gradients of the scores of one register tile: `p = 2^(s − lse)` and
  /// `ds = p ∘ (do vᵀ − Δ)`, times the derivatives kept last where scores have been changed.
  ///
  /// A rule that takes gradients gets them before.
  @unsafe
  private func computeGradients(
    panel: Int, group: Int, _ rule: borrowing TileRule?, _ needs: RuleNeeds
  ) {
    if Self.sharesFactors {
      unsafe multiply(
        outputGradients, valueHeadDim, group: group, valuesAcross, panel: panel, scale: nil,
        to: weightGradients)
    } else {
      unsafe multiply(
        outputGradientRows, valueHeadDim, group: group, valuesAcross, panel: panel, scale: nil,
        to: weightGradients)
    }
    if needs.takesGradients { unsafe handGradients(panel: panel, group: group, to: rule) }
    let first = place(panel: panel, group: group)
    for step in 0..<Self.height / Element.depth {
      let row = step * Element.depth
      let (left, right) = unsafe gradients(row, group: group, needs.slopes)
      let (nextLeft, nextRight) =
        Element.depth == 1 ? (left, right) : unsafe gradients(row + 1, group: group, needs.slopes)
      let offset = first + step * Self.stepStride
      let (weights, gradients) = unsafe (
        weights.unsafeBaseAddress + offset, scoreGradients.unsafeBaseAddress + offset
      )
      unsafe Element.store(
        Element.lanes { $0 == 0 ? left.weight : nextLeft.weight }, to: weights, at: 0)
      unsafe Element.store(
        Element.lanes { $0 == 0 ? right.weight : nextRight.weight }, to: weights, at: Vector.width)
      unsafe Element.store(
        Element.lanes { $0 == 0 ? left.gradient : nextLeft.gradient }, to: gradients, at: 0)
      unsafe Element.store(
        Element.lanes { $0 == 0 ? right.gradient : nextRight.gradient }, to: gradients,
        at: Vector.width)
      if Self.sharesFactors { continue }
      let rows = unsafe gradientRow(group * Self.height + row) + panel * Self.width / Element.depth
      unsafe Element.store((left.gradient, right.gradient), to: rows)
      unsafe Element.store(
        (nextLeft.gradient, nextRight.gradient), to: rows + Self.rowStride)
    }
    if keys % (Element.depth * Element.stepRun) != 0, panel == panels - 1 {
      unsafe clearPastLastKey(group: group)
    }
  }

  /// Gives `p ∘ (do vᵀ − Δ)` of a register tile away, by way of memory for edges.
  @unsafe
  private func handGradients(panel: Int, group: Int, to rule: borrowing TileRule?) {
    let tile = unsafe edge.unsafeBaseAddress
    for row in 0..<Self.height {
      let (left, right) = unsafe gradients(row, group: group, false)
      unsafe left.gradient.store(to: tile, at: row * Self.width)
      unsafe right.gradient.store(to: tile, at: row * Self.width + Vector.width)
    }
    switch rule {
    case .none: break
    case .some(let rule):
      unsafe rule.takeGradients(
        tile, stride: Self.width, keys: columns(of: panel), queries: rows(of: group))
    }
  }

  /// The weights of half a row of a register tile, and the gradients of their scores.
  private typealias Gradients = (weight: Vector, gradient: Vector)

  /// Both halves of a row.
  @unsafe @inline(__always)
  private func gradients(
    _ row: Int, group: Int, _ hasSlopes: Bool
  ) -> (left: Gradients, right: Gradients) {
    unsafe (
      gradients(row, at: 0, group: group, hasSlopes),
      gradients(row, at: Vector.width, group: group, hasSlopes)
    )
  }

  @unsafe @inline(__always)
  private func gradients(
    _ row: Int, at half: Int, group: Int, _ hasSlopes: Bool
  ) -> Gradients {
    let tileRow = group * Self.height + row
    let shift = unsafe Vector(repeating: lse.unsafeBaseAddress[tileRow])
    let rest = unsafe Vector(repeating: lseRemainder.unsafeBaseAddress[tileRow])
    let mean = unsafe Vector(repeating: delta.unsafeBaseAddress[tileRow])
    let offset = row * Self.width + half
    let score = unsafe Vector(loading: scores.unsafeBaseAddress, at: offset)
    let difference =
      Element.softmaxScalesScores
      ? (-shift).addingProduct(score, Vector(repeating: missingScale)) : score - shift
    let weight = exp2(difference - rest)
    let gradient =
      unsafe weight * (Vector(loading: weightGradients.unsafeBaseAddress, at: offset) - mean)
    guard hasSlopes else { return (weight, gradient) }
    return unsafe (weight, gradient * Vector(loading: slopes.unsafeBaseAddress, at: offset))
  }

  /// Gradients of the scores of a row, as factors of neighbouring keys.
  @unsafe @inline(__always)
  func gradientRow(_ row: Int) -> UnsafeMutablePointer<Element> {
    let rows =
      Self.sharesFactors
      ? unsafe scoreGradients.unsafeBaseAddress : unsafe scoreGradientRows.unsafeBaseAddress
    return unsafe rows + row * Self.rowStride
  }

  /// Factors between rows of the gradients of scores.
  @inline(__always)
  static var rowStride: Int { Element.steps(of: Element.backwardStride) }

  /// Clears what fills up the factor of the last key: it would be multiplied by zero, and may be
  /// infinite.
  @unsafe
  private func clearPastLastKey(group: Int) {
    for row in group * Self.height..<(group + 1) * Self.height {
      let numbers = unsafe UnsafeMutableRawPointer(gradientRow(row))
        .assumingMemoryBound(to: Element.Number.self)
      for key in keys..<Element.steps(of: keys) * Element.depth {
        unsafe UnsafeMutableRawPointer(numbers + key).initializeMemory(
          as: UInt8.self, repeating: 0, count: MemoryLayout<Element.Number>.stride)
      }
    }
  }

  /// Changes the scores of one register tile, and keeps the derivatives unless they are 1.
  @unsafe @inline(__always)
  private func change(
    panel: Int, group: Int, by rule: borrowing TileRule?, _ needs: RuleNeeds
  ) {
    switch rule {
    case .none: break
    case .some(let rule):
      unsafe rule.apply(
        to: scores.unsafeBaseAddress, stride: Self.width, keys: columns(of: panel),
        queries: rows(of: group), slopes: needs.slopes ? slopes.unsafeBaseAddress : nil)
    }
  }

  /// A group of rows times one panel of W keys, a panel of rows at a time.
  ///
  /// - Parameter target: takes the product, `[H][W]`.
  @unsafe @inline(__always)
  private func multiply(
    _ rows: borrowing AlignedBuffer<Element>, _ columns: Int, group: Int,
    _ panels: borrowing AlignedBuffer<Element>, panel: Int, scale: Float?,
    to target: borrowing AlignedBuffer<Float>
  ) {
    let steps = Element.steps(of: columns)
    let source =
      unsafe UnsafePointer(rows.unsafeBaseAddress) + group * Self.height * Self.rowSteps
    let across = unsafe UnsafePointer(panels.unsafeBaseAddress) + panel * Self.width * steps
    if Self.isTransposed {
      // A panel of rows is a run of steps.
      unsafe Element.multiply(
        rows: source, rowStride: Self.rowSteps, runStride: Element.backwardQueries * Self.rowSteps,
        panel: across, steps: steps, scale: scale, to: target.unsafeBaseAddress,
        stride: Self.width, adding: false)
      return
    }
    var product = FactorTile<Element>()
    var step = 0
    while step + Self.rowSteps <= steps {
      unsafe product.accumulate(
        rows: source + step * Element.backwardQueries, rowStride: Self.rowSteps, stepStride: 1,
        panel: across + step * Self.width, steps: Self.rowSteps)
      step += Self.rowSteps
    }
    if step < steps {
      unsafe product.accumulate(
        rows: source + step * Element.backwardQueries, rowStride: Self.rowSteps, stepStride: 1,
        panel: across + step * Self.width, steps: steps - step)
    }
    if let scale { product.multiply(by: scale) }
    unsafe product.store(to: target.unsafeBaseAddress, stride: Self.width)
  }

  /// Zero weights where nothing is seen.
  @unsafe
  private func clear(panel: Int, group: Int) {
    let first = place(panel: panel, group: group)
    for step in 0..<Self.height / Element.depth {
      let offset = first + step * Self.stepStride
      unsafe (weights.unsafeBaseAddress + offset).update(repeating: .zero, count: Self.width)
      unsafe (scoreGradients.unsafeBaseAddress + offset)
        .update(repeating: .zero, count: Self.width)
    }
    if Self.sharesFactors { return }
    for row in group * Self.height..<(group + 1) * Self.height {
      unsafe (gradientRow(row) + panel * Self.width / Element.depth)
        .update(repeating: .zero, count: Self.width / Element.depth)
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
