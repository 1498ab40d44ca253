import Compute
import Tensors

/// Tiles of a product, each some rows by some panels.
struct ProductPass: ThreadedPass {
  /// Rows of a tile; a multiple of those of a register tile.
  static var tileRows: Int { 16 * RegisterTile.height }
  /// Panels of a tile.
  static var tilePanels: Int { 8 }
  /// Terms that are added before they join C: 256 rows of a panel are half of a first-level cache.
  static var steps: Int { 256 }

  private let work: ProductWork

  private var rowTiles: Int { (work.rows + Self.tileRows - 1) / Self.tileRows }
  private var panels: Int { (work.columns + RegisterTile.width - 1) / RegisterTile.width }
  var unitCount: Int { rowTiles * ((panels + Self.tilePanels - 1) / Self.tilePanels) }

  init(_ work: ProductWork) { self.work = work }

  /// Takes units until there are none; those that share rows of A are neighbours.
  func run(_ units: ThreadTeam.Units, poll: (_ work: Int) -> Void) {
    let packed = AlignedBuffer<Float>(zeros: Self.tileRows * min(work.depth, Self.steps))
    let edge = AlignedBuffer<Float>(zeros: RegisterTile.height * RegisterTile.width)
    while let unit = units.next() {
      let panelTiles = (panels + Self.tilePanels - 1) / Self.tilePanels
      let (rowTile, panelTile) = unit.quotientAndRemainder(dividingBy: panelTiles)
      let tile = rowTile * Self.tileRows..<min((rowTile + 1) * Self.tileRows, work.rows)
      let tilePanels =
        panelTile * Self.tilePanels..<min((panelTile + 1) * Self.tilePanels, panels)
      for first in stride(from: 0, to: work.depth, by: Self.steps) {
        let steps = first..<min(first + Self.steps, work.depth)
        unsafe pack(rows: tile, steps: steps, to: packed.unsafeBaseAddress)
        for panel in tilePanels {
          unsafe multiply(
            packed.unsafeBaseAddress, rows: tile, panel: panel, steps: steps,
            edge: edge.unsafeBaseAddress)
        }
        poll(tile.count * steps.count * tilePanels.count * RegisterTile.width)
      }
    }
  }

  /// Copies rows to `[groups of 6][steps][6]`, filled up with zeros.
  @unsafe
  private func pack(
    rows tile: Range<Int>, steps: Range<Int>, to packed: UnsafeMutablePointer<Float>
  ) {
    let height = RegisterTile.height
    for row in 0..<(tile.count + height - 1) / height * height {
      let target = unsafe packed + row / height * height * steps.count + row % height
      if row < tile.count {
        let source = unsafe work.a + (tile.lowerBound + row) * work.depth + steps.lowerBound
        for step in 0..<steps.count { unsafe target[step * height] = source[step] }
      } else {
        for step in 0..<steps.count { unsafe target[step * height] = 0 }
      }
    }
  }

  /// One tile of rows times one panel, over some steps.
  @unsafe
  private func multiply(
    _ packed: UnsafePointer<Float>, rows tile: Range<Int>, panel: Int, steps: Range<Int>,
    edge: UnsafeMutablePointer<Float>
  ) {
    let (height, width) = (RegisterTile.height, RegisterTile.width)
    let (columns, column) = (work.columns, panel * width)
    let wide = min(width, columns - column)
    let source = unsafe work.b + (panel * work.depth + steps.lowerBound) * width
    let adds = work.adding || steps.lowerBound > 0
    for row in stride(from: 0, to: tile.count, by: height) {
      var product = RegisterTile()
      unsafe product.accumulate(
        rows: packed + row * steps.count, rowStride: 1, stepStride: height, panel: source,
        steps: steps.count)
      let target = unsafe work.c + (tile.lowerBound + row) * columns + column
      let high = min(height, tile.count - row)
      if high == height, wide == width {
        if adds {
          unsafe product.add(to: target, stride: columns)
        } else {
          unsafe product.store(to: target, stride: columns)
        }
        continue
      }
      unsafe product.store(to: edge, stride: width)
      for y in 0..<high {
        for x in 0..<wide {
          let number = unsafe edge[y * width + x]
          unsafe target[y * columns + x] = adds ? target[y * columns + x] + number : number
        }
      }
    }
  }
}
