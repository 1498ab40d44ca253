import Compute
import Tensors

/// Products of many rows with weights: a tile of them is widened into panels once, and all rows
/// pass over it.
///
/// A is packed before, once for all the matrices, `[groups of 6 rows][words][6]`. A unit is some
/// panels of one matrix. It takes 256 terms at a time, whose widened weights lie in the
/// second-level cache, a panel of them in the first.
///
/// What words hold is up to `Terms`: numbers, pairs of bf16 numbers, or scaled bytes. All but
/// numbers are rounded, A and the widened weights.
struct ManyRowsProduct<Terms: PackedTerms> {
  private static var height: Int { RegisterTile.height }
  private static var width: Int { RegisterTile.width }

  /// Terms that are added before they join C: a whole number of blocks of any form.
  fileprivate static var terms: Int { 256 }
  /// Words between rows that are packed but not yet in panels: a cache line more than they need, so
  /// that neighbours are not all in the same sets of the first-level cache.
  fileprivate static var rowStride: Int { terms + 16 }
  /// Rows that pass over a panel before the next one: what they read lies in the second-level
  /// cache.
  private static var tileRows: Int { 16 * height }
  private static var mostPanels: Int { 4 }

  private let work: WeightProduct
  /// Panels of a unit, and for each factor the number of its first unit.
  private let tilePanels: Int
  private let firstUnits: [Int]
  let unitCount: Int

  init(_ work: WeightProduct, threads: Int) {
    self.work = work
    let panels = work.factors.map { ($0.outputs + Self.width - 1) / Self.width }
    // Several units a thread, so that none waits long for another.
    let tile = min(max(panels.reduce(0, +) / (4 * threads), 1), Self.mostPanels)
    tilePanels = tile
    var first = 0
    firstUnits = panels.map { count in
      defer { first += (count + tile - 1) / tile }
      return first
    }
    unitCount = first
  }

  /// Packs A by all threads.
  static func pack(_ work: WeightProduct, team: ThreadTeam) {
    let words = Terms.rowWords(of: work.depth)
    team.forEachPart(of: (work.rows + height - 1) / height, cost: height * work.depth) { part in
      let row = AlignedBuffer<UInt32>(zeros: words + WeightUnit.length)
      for group in part {
        let target = unsafe Self.words(work.scratch) + group * height * words
        for place in 0..<height {
          let number = group * height + place
          let source = unsafe row.unsafeBaseAddress
          if number < work.rows {
            unsafe Terms.pack(work.a + number * work.depth, count: work.depth, to: source)
          } else {
            unsafe source.update(repeating: 0, count: words)
          }
          for word in 0..<words { unsafe target[word * height + place] = source[word] }
        }
      }
    }
  }

  @unsafe @inline(__always)
  private static func words(
    _ numbers: UnsafeMutablePointer<Float>
  ) -> UnsafeMutablePointer<UInt32> {
    unsafe UnsafeMutableRawPointer(numbers).assumingMemoryBound(to: UInt32.self)
  }

  func run(_ units: ThreadTeam.Units, poll: (_ work: Int) -> Void) {
    let width = Self.width
    let panels = AlignedBuffer<UInt32>(zeros: tilePanels * Self.panelWords)
    let rows = AlignedBuffer<UInt32>(zeros: width * Self.rowStride)
    let edge = AlignedBuffer<Float>(zeros: Self.height * width)
    while let unit = units.next() {
      guard let number = firstUnits.lastIndex(where: { $0 <= unit }) else { return }
      let factor = work.factors[number]
      let first = (unit - firstUnits[number]) * tilePanels * width
      let outputs = first..<min(first + tilePanels * width, factor.outputs)
      for step in stride(from: 0, to: work.depth, by: Self.terms) {
        let terms = step..<min(step + Self.terms, work.depth)
        unsafe factor.type.visit(
          PanelWidening<Terms>(
            factor: factor, outputs: outputs, depth: work.depth, terms: terms,
            panels: panels.unsafeBaseAddress, rows: rows.unsafeBaseAddress))
        unsafe multiply(
          factor, outputs: outputs, terms: terms, panels: panels.unsafeBaseAddress,
          edge: edge.unsafeBaseAddress)
        poll(work.rows * terms.count * outputs.count)
      }
    }
  }

  /// Words of a whole panel.
  fileprivate static var panelWords: Int { Terms.panelWords(of: terms) * width }

  /// All rows times some panels, over some terms.
  @unsafe
  private func multiply(
    _ factor: WeightProduct.Factor, outputs: Range<Int>, terms: Range<Int>,
    panels: UnsafePointer<UInt32>, edge: UnsafeMutablePointer<Float>
  ) {
    let width = Self.width
    for first in stride(from: 0, to: work.rows, by: Self.tileRows) {
      let rows = first..<min(first + Self.tileRows, work.rows)
      for (panel, output) in stride(
        from: outputs.lowerBound, to: outputs.upperBound, by: width
      ).enumerated() {
        for row in stride(from: rows.lowerBound, to: rows.upperBound, by: Self.height) {
          unsafe multiply(
            factor, row: row, output: output, wide: min(width, outputs.upperBound - output),
            terms: terms, panel: panels + panel * Self.panelWords, edge: edge)
        }
      }
    }
  }

  /// One register tile.
  @unsafe @inline(__always)
  private func multiply(
    _ factor: WeightProduct.Factor, row: Int, output: Int, wide: Int, terms: Range<Int>,
    panel: UnsafePointer<UInt32>, edge: UnsafeMutablePointer<Float>
  ) {
    let (height, width) = (Self.height, Self.width)
    let packed = unsafe Self.words(work.scratch) + row * Terms.rowWords(of: work.depth)
    let rows = unsafe packed + Terms.rowWords(of: terms.lowerBound) * height
    let adds = work.adding || terms.lowerBound > 0
    let target = unsafe factor.c + row * factor.stride + output
    let high = min(height, work.rows - row)
    if high == height, wide == width {
      unsafe Terms.multiply(
        rows: rows, panel: panel, terms: terms.count, to: target, stride: factor.stride,
        adding: adds)
      return
    }
    unsafe Terms.multiply(
      rows: rows, panel: panel, terms: terms.count, to: edge, stride: width, adding: false)
    for y in 0..<high {
      for x in 0..<wide {
        let number = unsafe edge[y * width + x]
        let place = unsafe target + y * factor.stride + x
        unsafe place.pointee = adds ? place.pointee + number : number
      }
    }
  }
}

/// Some rows of weights become columns of panels, `[panel][words][W]`.
@safe
private struct PanelWidening<Terms: PackedTerms>: WeightVisitor {
  let factor: WeightProduct.Factor
  let outputs: Range<Int>
  let depth: Int
  let terms: Range<Int>
  let panels: UnsafeMutablePointer<UInt32>
  /// `[W]`, ``ManyRowsProduct/rowStride`` words apart.
  let rows: UnsafeMutablePointer<UInt32>

  func visit<Form: StoredWeights>(_ form: Form.Type) {
    let (width, length) = (RegisterTile.width, ManyRowsProduct<Terms>.rowStride)
    for (number, first) in stride(
      from: outputs.lowerBound, to: outputs.upperBound, by: width
    ).enumerated() {
      let high = min(width, outputs.upperBound - first)
      for row in 0..<high {
        unsafe pack(form, first + row, to: rows + row * length)
      }
      unsafe (rows + high * length).update(repeating: 0, count: (width - high) * length)
      let panel = unsafe panels + number * ManyRowsProduct<Terms>.panelWords
      for word in 0..<Terms.panelWords(of: terms.count) {
        for row in 0..<width {
          unsafe panel[word * width + row] = rows[row * length + word]
        }
      }
    }
  }

  /// Packs a row's terms.
  @unsafe @inline(__always)
  private func pack<Form: StoredWeights>(
    _ form: Form.Type, _ row: Int, to words: UnsafeMutablePointer<UInt32>
  ) {
    let weights = unsafe WeightRow<Form>(row, of: factor.weights, depth: depth)
    let length = WeightUnit.length
    let unitWords = Terms.panelWords(of: length)
    let (first, last) = (terms.lowerBound / length, terms.upperBound / length)
    unsafe weights.forEachUnit(first..<last) { unit, weights in
      unsafe Terms.pack(weights, to: words + (unit - first) * unitWords)
    }
    if terms.upperBound % length > 0 {
      unsafe Terms.pack(weights.lastUnit(), to: words + (last - first) * unitWords)
    }
  }
}
