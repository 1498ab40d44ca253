import Compute
import Tensors

/// Products of many rows with weights: a tile of them is widened into panels once, and all rows
/// pass over it.
///
/// A is packed before, once for all the matrices, `[groups of 6 rows][steps][6]` factors. A unit is
/// some panels of one matrix. It takes 256 terms at a time, whose widened weights lie in the
/// second-level cache, a panel of them in the first.
///
/// Factors are numbers, or pairs of bf16 numbers: then A and the widened weights are rounded, and a
/// product has half the steps.
struct ManyRowsProduct<Element: Factor> {
  private typealias Tile = FactorTile<Element>

  /// Terms that are added before they join C: a whole number of blocks of any form.
  fileprivate static var terms: Int { 256 }
  /// Rows that pass over a panel before the next one: what they read lies in the second-level
  /// cache.
  private static var tileRows: Int { 16 * Tile.height }
  private static var mostPanels: Int { 4 }

  private let work: WeightProduct
  /// Panels of a unit, and for each factor the number of its first unit.
  private let tilePanels: Int
  private let firstUnits: [Int]
  let unitCount: Int

  init(_ work: WeightProduct, threads: Int) {
    self.work = work
    let panels = work.factors.map { ($0.outputs + Tile.width - 1) / Tile.width }
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
    let (height, steps) = (Tile.height, Element.steps(of: work.depth))
    let groups = (work.rows + height - 1) / height
    team.forEachPart(of: groups, cost: height * work.depth) { part in
      let factors = AlignedBuffer<Float>(zeros: work.depth + 2 * Vector.width)
      for group in part {
        let target = unsafe Self.elements(work.scratch) + group * height * steps
        for row in 0..<height {
          let number = group * height + row
          if number < work.rows {
            let source = unsafe Self.factors(
              of: work.a + number * work.depth, count: work.depth,
              in: factors.unsafeBaseAddress)
            for step in 0..<steps { unsafe target[step * height + row] = source[step] }
          } else {
            for step in 0..<steps { unsafe target[step * height + row] = Element.zero }
          }
        }
      }
    }
  }

  @unsafe @inline(__always)
  private static func elements(
    _ numbers: UnsafeMutablePointer<Float>
  ) -> UnsafeMutablePointer<Element> {
    unsafe UnsafeMutableRawPointer(numbers).assumingMemoryBound(to: Element.self)
  }

  /// The factors of a row of A, one after the other, in `room`.
  @unsafe @inline(__always)
  private static func factors(
    of numbers: UnsafePointer<Float>, count: Int, in room: UnsafeMutablePointer<Float>
  ) -> UnsafePointer<Element> {
    let (factors, length) = unsafe (elements(room), 2 * Vector.width)
    let whole = count / length * length
    for first in stride(from: 0, to: whole, by: length) {
      unsafe Element.store(
        (Vector(loading: numbers, at: first), Vector(loading: numbers, at: first + Vector.width)),
        to: factors + first / Element.depth)
    }
    for first in stride(from: whole, to: count, by: Element.depth) {
      unsafe factors[first / Element.depth] = Element.factor(
        of: numbers + first, stride: 1, count: min(Element.depth, count - first)
      ) { _ in 1 }
    }
    return unsafe UnsafePointer(factors)
  }

  func run(_ units: ThreadTeam.Units, poll: (_ work: Int) -> Void) {
    let width = Tile.width
    let panels = AlignedBuffer<Float>(zeros: tilePanels * Self.terms * width)
    let rows = AlignedBuffer<Float>(zeros: width * Self.terms)
    let edge = AlignedBuffer<Float>(zeros: Tile.height * width)
    while let unit = units.next() {
      guard let number = firstUnits.lastIndex(where: { $0 <= unit }) else { return }
      let factor = work.factors[number]
      let first = (unit - firstUnits[number]) * tilePanels * width
      let outputs = first..<min(first + tilePanels * width, factor.outputs)
      for step in stride(from: 0, to: work.depth, by: Self.terms) {
        let terms = step..<min(step + Self.terms, work.depth)
        unsafe factor.type.visit(
          PanelWidening<Element>(
            factor: factor, outputs: outputs, depth: work.depth, terms: terms,
            panels: Self.elements(panels.unsafeBaseAddress), rows: rows.unsafeBaseAddress))
        unsafe multiply(
          factor, outputs: outputs, terms: terms,
          panels: Self.elements(panels.unsafeBaseAddress), edge: edge.unsafeBaseAddress)
        poll(work.rows * terms.count * outputs.count)
      }
    }
  }

  /// All rows times some panels, over some terms.
  @unsafe
  private func multiply(
    _ factor: WeightProduct.Factor, outputs: Range<Int>, terms: Range<Int>,
    panels: UnsafePointer<Element>, edge: UnsafeMutablePointer<Float>
  ) {
    let width = Tile.width
    for first in stride(from: 0, to: work.rows, by: Self.tileRows) {
      let rows = first..<min(first + Self.tileRows, work.rows)
      for (panel, output) in stride(
        from: outputs.lowerBound, to: outputs.upperBound, by: width
      ).enumerated() {
        for row in stride(from: rows.lowerBound, to: rows.upperBound, by: Tile.height) {
          unsafe multiply(
            factor, row: row, output: output, wide: min(width, outputs.upperBound - output),
            terms: terms, panel: panels + panel * Self.terms / Element.depth * width, edge: edge)
        }
      }
    }
  }

  /// One register tile.
  @unsafe @inline(__always)
  private func multiply(
    _ factor: WeightProduct.Factor, row: Int, output: Int, wide: Int, terms: Range<Int>,
    panel: UnsafePointer<Element>, edge: UnsafeMutablePointer<Float>
  ) {
    let (height, width) = (Tile.height, Tile.width)
    var product = Tile()
    let packed = unsafe Self.elements(work.scratch) + row * Element.steps(of: work.depth)
    unsafe product.accumulate(
      rows: packed + terms.lowerBound / Element.depth * height, rowStride: 1, stepStride: height,
      panel: panel, steps: Element.steps(of: terms.count))
    let adds = work.adding || terms.lowerBound > 0
    let target = unsafe factor.c + row * factor.stride + output
    let high = min(height, work.rows - row)
    if high == height, wide == width {
      if adds {
        unsafe product.add(to: target, stride: factor.stride)
      } else {
        unsafe product.store(to: target, stride: factor.stride)
      }
      return
    }
    unsafe product.store(to: edge, stride: width)
    for y in 0..<high {
      for x in 0..<wide {
        let number = unsafe edge[y * width + x]
        let place = unsafe target + y * factor.stride + x
        unsafe place.pointee = adds ? place.pointee + number : number
      }
    }
  }
}

/// Some rows of weights become columns of panels, `[panel][steps][W]`.
@safe
private struct PanelWidening<Element: Factor>: WeightVisitor {
  let factor: WeightProduct.Factor
  let outputs: Range<Int>
  let depth: Int
  let terms: Range<Int>
  let panels: UnsafeMutablePointer<Element>
  /// `[W][256]`.
  let rows: UnsafeMutablePointer<Float>

  func visit<Form: StoredWeights>(_ form: Form.Type) {
    let (width, length) = (FactorTile<Element>.width, ManyRowsProduct<Element>.terms)
    for (number, first) in stride(
      from: outputs.lowerBound, to: outputs.upperBound, by: width
    ).enumerated() {
      let high = min(width, outputs.upperBound - first)
      for row in 0..<high {
        unsafe widen(form, first + row, into: rows + row * length)
      }
      unsafe (rows + high * length).update(repeating: 0, count: (width - high) * length)
      let panel = unsafe panels + number * length / Element.depth * width
      let source = unsafe UnsafeRawPointer(rows).assumingMemoryBound(to: Element.self)
      for step in 0..<Element.steps(of: terms.count) {
        for row in 0..<width {
          unsafe panel[step * width + row] = source[row * length + step]
        }
      }
    }
  }

  /// The factors of a row's terms.
  @unsafe @inline(__always)
  private func widen<Form: StoredWeights>(
    _ form: Form.Type, _ row: Int, into numbers: UnsafeMutablePointer<Float>
  ) {
    let weights = unsafe WeightRow<Form>(row, of: factor.weights, depth: depth)
    let length = WeightUnit.length
    let (first, last) = (terms.lowerBound / length, terms.upperBound / length)
    unsafe weights.forEachUnit(first..<last) { unit, weights in
      unsafe put(weights, numbers, unit - first)
    }
    if terms.upperBound % length > 0 {
      unsafe put(weights.lastUnit(), numbers, last - first)
    }
  }

  /// Puts the factors of a unit where they belong.
  @unsafe @inline(__always)
  private func put(_ weights: WeightUnit, _ numbers: UnsafeMutablePointer<Float>, _ unit: Int) {
    let place = unsafe numbers + unit * WeightUnit.length / Element.depth
    let first = UnsafeMutableRawPointer(place)
    unsafe first.storeBytes(of: weights.first, as: SIMD16<Float>.self)
    unsafe first.storeBytes(of: weights.second, toByteOffset: 64, as: SIMD16<Float>.self)
    if Element.depth > 1 { unsafe makeFactors(place) }
  }

  /// The factors of a unit, in the place of its numbers.
  @unsafe @inline(__always)
  private func makeFactors(_ numbers: UnsafeMutablePointer<Float>) {
    let factors = unsafe UnsafeMutableRawPointer(numbers).assumingMemoryBound(to: Element.self)
    for first in stride(from: 0, to: WeightUnit.length, by: 2 * Vector.width) {
      unsafe Element.store(
        (Vector(loading: numbers, at: first), Vector(loading: numbers, at: first + Vector.width)),
        to: factors + first / Element.depth)
    }
  }
}
