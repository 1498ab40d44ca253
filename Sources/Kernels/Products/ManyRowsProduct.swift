import Compute
import Tensors

/// Products of many rows with weights: a tile of them is widened into panels once, and all rows
/// pass over it.
///
/// A is packed before, once for all the matrices, `[groups of 6 rows][depth][6]`. A unit is some
/// panels of one matrix. It takes 256 terms at a time, whose widened weights lie in the
/// second-level cache, a panel of them in the first.
struct ManyRowsProduct: ThreadedPass {
  /// Terms that are added before they join C: a whole number of blocks of any form.
  private static var steps: Int { 256 }
  /// Rows that pass over a panel before the next one: what they read lies in the second-level
  /// cache.
  private static var tileRows: Int { 16 * RegisterTile.height }
  private static var mostPanels: Int { 4 }

  private let work: WeightProduct
  /// Panels of a unit, and for each factor the number of its first unit.
  private let tilePanels: Int
  private let firstUnits: [Int]
  let unitCount: Int

  init(_ work: WeightProduct, threads: Int) {
    self.work = work
    let panels = work.factors.map { ($0.outputs + RegisterTile.width - 1) / RegisterTile.width }
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
    let height = RegisterTile.height
    let groups = (work.rows + height - 1) / height
    team.forEachPart(of: groups, cost: height * work.depth) { part in
      for group in part {
        let target = unsafe work.scratch + group * height * work.depth
        for row in 0..<height {
          let number = group * height + row
          if number < work.rows {
            let source = unsafe work.a + number * work.depth
            for step in 0..<work.depth { unsafe target[step * height + row] = source[step] }
          } else {
            for step in 0..<work.depth { unsafe target[step * height + row] = 0 }
          }
        }
      }
    }
  }

  func run(_ units: ThreadTeam.Units, poll: (_ work: Int) -> Void) {
    let width = RegisterTile.width
    let panels = AlignedBuffer<Float>(zeros: tilePanels * Self.steps * width)
    let rows = AlignedBuffer<Float>(zeros: width * WeightUnit.length)
    let edge = AlignedBuffer<Float>(zeros: RegisterTile.height * width)
    while let unit = units.next() {
      guard let number = firstUnits.lastIndex(where: { $0 <= unit }) else { return }
      let factor = work.factors[number]
      let first = (unit - firstUnits[number]) * tilePanels * width
      let outputs = first..<min(first + tilePanels * width, factor.outputs)
      for step in stride(from: 0, to: work.depth, by: Self.steps) {
        let steps = step..<min(step + Self.steps, work.depth)
        unsafe factor.type.visit(
          PanelWidening(
            factor: factor, outputs: outputs, depth: work.depth, steps: steps,
            panels: panels.unsafeBaseAddress, rows: rows.unsafeBaseAddress))
        unsafe multiply(
          factor, outputs: outputs, steps: steps, panels: panels.unsafeBaseAddress,
          edge: edge.unsafeBaseAddress)
        poll(work.rows * steps.count * outputs.count)
      }
    }
  }

  /// All rows times some panels, over some steps.
  @unsafe
  private func multiply(
    _ factor: WeightProduct.Factor, outputs: Range<Int>, steps: Range<Int>,
    panels: UnsafePointer<Float>, edge: UnsafeMutablePointer<Float>
  ) {
    let width = RegisterTile.width
    for first in stride(from: 0, to: work.rows, by: Self.tileRows) {
      let rows = first..<min(first + Self.tileRows, work.rows)
      for (panel, output) in stride(
        from: outputs.lowerBound, to: outputs.upperBound, by: width
      ).enumerated() {
        for row in stride(from: rows.lowerBound, to: rows.upperBound, by: RegisterTile.height) {
          unsafe multiply(
            factor, row: row, output: output, wide: min(width, outputs.upperBound - output),
            steps: steps, panel: panels + panel * Self.steps * width, edge: edge)
        }
      }
    }
  }

  /// One register tile.
  @unsafe @inline(__always)
  private func multiply(
    _ factor: WeightProduct.Factor, row: Int, output: Int, wide: Int, steps: Range<Int>,
    panel: UnsafePointer<Float>, edge: UnsafeMutablePointer<Float>
  ) {
    let (height, width) = (RegisterTile.height, RegisterTile.width)
    var product = RegisterTile()
    unsafe product.accumulate(
      rows: work.scratch + row * work.depth + steps.lowerBound * height, rowStride: 1,
      stepStride: height, panel: panel, steps: steps.count)
    let adds = work.adding || steps.lowerBound > 0
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
private struct PanelWidening: WeightVisitor {
  let factor: WeightProduct.Factor
  let outputs: Range<Int>
  let depth: Int
  let steps: Range<Int>
  let panels: UnsafeMutablePointer<Float>
  /// `[W][32]`.
  let rows: UnsafeMutablePointer<Float>

  func visit<Form: StoredWeights>(_ form: Form.Type) {
    let (width, length) = (RegisterTile.width, WeightUnit.length)
    for (number, first) in stride(
      from: outputs.lowerBound, to: outputs.upperBound, by: width
    ).enumerated() {
      let high = min(width, outputs.upperBound - first)
      for row in high..<width {
        unsafe (rows + row * length).update(repeating: 0, count: length)
      }
      let panel = unsafe panels + number * 256 * width
      for step in stride(from: steps.lowerBound, to: steps.upperBound, by: length) {
        for row in 0..<high {
          let weights = unsafe WeightRow<Form>(first + row, of: factor.weights, depth: depth)
          let unit = unsafe step + length <= depth ? weights[step / length] : weights.lastUnit()
          let target = unsafe UnsafeMutableRawPointer(rows + row * length)
          unsafe target.storeBytes(of: unit.first, as: SIMD16<Float>.self)
          unsafe target.storeBytes(of: unit.second, toByteOffset: 64, as: SIMD16<Float>.self)
        }
        let target = unsafe panel + (step - steps.lowerBound) * width
        for index in 0..<min(length, steps.upperBound - step) {
          for row in 0..<width {
            unsafe target[index * width + row] = rows[row * length + index]
          }
        }
      }
    }
  }
}
