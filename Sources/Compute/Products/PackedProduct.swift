import Tensors

extension PackedMatrix {
  /// Computes `C = A · B`, or `C += A · B`, with this matrix for B.
  ///
  /// A tile of rows of A is packed into scratch once for some panels of B; both of its parts that a
  /// panel meets lie in the second-level cache, the part of the panel in the first. Sums are in
  /// `Float`, in stretches of `ProductPass.steps` that are added up one after the other: the same
  /// bits for any number of threads.
  ///
  /// - Parameters:
  ///   - a: `[rows, depth]`, row-major.
  ///   - rows: any number; fewer than a register tile has waste the rest of it.
  ///   - c: `[rows, columns]`, row-major.
  ///   - adding: whether what is in `c` is kept and added to.
  ///   - poll: as in ``ThreadTeam/run(_:poll:)``, with multiply–adds.
  /// - Complexity: `2 · rows · depth · columns` floating-point operations, shared among the
  ///   threads.
  public func multiply(
    _ a: borrowing Span<Float>, rows: Int, into c: inout MutableSpan<Float>, adding: Bool = false,
    team: ThreadTeam = ThreadTeam(threads: 1), poll: (_ work: Int) -> Void = { _ in }
  ) {
    precondition(a.count == rows * depth, "A has \(a.count) numbers, not \(rows) × \(depth)")
    precondition(c.count == rows * columns, "C has \(c.count) numbers, not \(rows) × \(columns)")
    if c.count == 0 { return }
    if depth == 0 {
      if !adding { c.update(repeating: 0) }
      return
    }
    unsafe a.withUnsafeBufferPointer { a in
      unsafe c.withUnsafeMutableBufferPointer { c in
        guard let a = a.baseAddress, let c = c.baseAddress else { return }
        let pass = unsafe ProductPass(
          a: a, b: panel(0), c: c, rows: rows, depth: depth, columns: columns, adding: adding)
        team.run(pass, poll: poll)
      }
    }
  }
}

/// Tiles of a product, each some rows by some panels.
///
/// It holds plain addresses: whoever creates it keeps the matrices alive until it has run.
@safe
struct ProductPass: ThreadedPass, @unchecked Sendable {
  /// Rows of a tile; a multiple of those of a register tile.
  static var tileRows: Int { 16 * RegisterTile.height }
  /// Panels of a tile.
  static var tilePanels: Int { 8 }
  /// Terms that are added before they join C: 256 rows of a panel are half of a first-level cache.
  static var steps: Int { 256 }

  private let a: UnsafePointer<Float>
  private let b: UnsafePointer<Float>
  private let c: UnsafeMutablePointer<Float>
  private let rows: Int
  private let depth: Int
  private let columns: Int
  private let adding: Bool

  private var rowTiles: Int { (rows + Self.tileRows - 1) / Self.tileRows }
  private var panels: Int { (columns + RegisterTile.width - 1) / RegisterTile.width }
  var unitCount: Int { rowTiles * ((panels + Self.tilePanels - 1) / Self.tilePanels) }

  @unsafe
  init(
    a: UnsafePointer<Float>, b: UnsafePointer<Float>, c: UnsafeMutablePointer<Float>, rows: Int,
    depth: Int, columns: Int, adding: Bool
  ) {
    unsafe self.a = a
    unsafe self.b = b
    unsafe self.c = c
    self.rows = rows
    self.depth = depth
    self.columns = columns
    self.adding = adding
  }

  /// Takes units until there are none; those that share rows of A are neighbours.
  func run(_ units: ThreadTeam.Units, poll: (_ work: Int) -> Void) {
    let packed = AlignedBuffer<Float>(zeros: Self.tileRows * min(depth, Self.steps))
    let edge = AlignedBuffer<Float>(zeros: RegisterTile.height * RegisterTile.width)
    while let unit = units.next() {
      let panelTiles = (panels + Self.tilePanels - 1) / Self.tilePanels
      let (rowTile, panelTile) = unit.quotientAndRemainder(dividingBy: panelTiles)
      let tile = rowTile * Self.tileRows..<min((rowTile + 1) * Self.tileRows, rows)
      let tilePanels =
        panelTile * Self.tilePanels..<min((panelTile + 1) * Self.tilePanels, panels)
      for first in stride(from: 0, to: depth, by: Self.steps) {
        let steps = first..<min(first + Self.steps, depth)
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
        let source = unsafe a + (tile.lowerBound + row) * depth + steps.lowerBound
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
    let column = panel * width
    let wide = min(width, columns - column)
    let source = unsafe b + (panel * depth + steps.lowerBound) * width
    let adds = adding || steps.lowerBound > 0
    for row in stride(from: 0, to: tile.count, by: height) {
      var product = RegisterTile()
      unsafe product.accumulate(
        rows: packed + row * steps.count, rowStride: 1, stepStride: height, panel: source,
        steps: steps.count)
      let target = unsafe c + (tile.lowerBound + row) * columns + column
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
