import AttentionTypes
import Tensors

/// One tile of keys while tiles of queries stream past it: gradients of the keys and values are
/// collected here, those of the queries are added where they belong.
///
/// All five products are the micro-kernel of ``RegisterTile``. Rows that are broadcast come from
/// whatever lies in panels of W columns, W steps at a time, or, for the products that sum over
/// queries, from the columns of the weights: then the six rows are neighbours in memory.
///
/// Panels are W = ``TileSizes/panelWidth`` wide.
///
/// Source: Dao 2023, FlashAttention-2, Algorithm 2.
struct BackwardTile: ~Copyable {
  let headDim: Int
  let valueHeadDim: Int
  /// Keys in use.
  private(set) var keys = 0
  /// Query rows in use.
  private(set) var rows = 0

  /// `[panels of W keys][headDim][W]`.
  let keysAcross: AlignedBuffer<Float>
  /// `[panels of W columns][keys][W]`.
  let keyColumns: AlignedBuffer<Float>
  /// `[panels of W keys][valueHeadDim][W]`.
  let valuesAcross: AlignedBuffer<Float>
  /// `[panels of W columns][keys][W]`; dk lacks a factor ln 2, since the queries have log₂e.
  var dk: AlignedBuffer<Float>
  var dv: AlignedBuffer<Float>
  /// What tiles of queries before the last ones have contributed to both.
  private let earlierDK: CompensatedBuffer
  private let earlierDV: CompensatedBuffer
  /// Tiles of queries that `dk` and `dv` come from.
  private var tilesAtOnce = 0
  /// Whether there are earlier ones.
  private var hasEarlier = false

  /// `[panels of W columns][rows][W]`, multiplied by scale · log₂e.
  let queries: AlignedBuffer<Float>
  /// `[panels of W columns][rows][W]`.
  let outputGradients: AlignedBuffer<Float>
  /// `[rows][stride]`: scores, then weights.
  let weights: AlignedBuffer<Float>
  /// `[rows][stride]`: gradients of the scores.
  let scoreGradients: AlignedBuffer<Float>
  let lse: AlignedBuffer<Float>
  /// What rounding took from `lse`.
  let lseRemainder: AlignedBuffer<Float>
  let delta: AlignedBuffer<Float>

  /// For each group of 6 rows the panels of keys that any of them sees, and for each panel of keys
  /// the groups of rows that see any of them.
  var visiblePanels: [Range<Int>]
  var visibleGroups: [Range<Int>]
  /// What the pattern adds to one register tile, and a register tile on the edge of dq.
  let edge: AlignedBuffer<Float>
  /// What each group of rows sees of the tile of keys.
  var groupCoverage: [Coverage]
  /// The derivatives of a score rule for one register tile.
  let slopes: AlignedBuffer<Float>

  static var width: Int { TileSizes.panelWidth }
  static var height: Int { TileSizes.registerRows }

  init(shape: AttentionShape) {
    headDim = shape.headDim
    valueHeadDim = shape.valueHeadDim
    let (maxRows, maxKeys) = (TileSizes.backwardQueries, TileSizes.backwardKeys)
    let columns = roundedUp(shape.headDim)
    let valueColumns = roundedUp(shape.valueHeadDim)
    keysAcross = AlignedBuffer(zeros: maxKeys * shape.headDim)
    valuesAcross = AlignedBuffer(zeros: maxKeys * shape.valueHeadDim)
    keyColumns = AlignedBuffer(zeros: maxKeys * columns)
    dk = AlignedBuffer(zeros: maxKeys * columns)
    dv = AlignedBuffer(zeros: maxKeys * valueColumns)
    earlierDK = CompensatedBuffer(count: maxKeys * columns)
    earlierDV = CompensatedBuffer(count: maxKeys * valueColumns)
    queries = AlignedBuffer(zeros: maxRows * columns)
    outputGradients = AlignedBuffer(zeros: maxRows * valueColumns)
    weights = AlignedBuffer(zeros: maxRows * TileSizes.backwardStride)
    scoreGradients = AlignedBuffer(zeros: maxRows * TileSizes.backwardStride)
    lse = AlignedBuffer(zeros: maxRows)
    lseRemainder = AlignedBuffer(zeros: maxRows)
    delta = AlignedBuffer(zeros: maxRows)
    visiblePanels = Array(repeating: 0..<0, count: maxRows / Self.height)
    visibleGroups = Array(repeating: 0..<0, count: maxKeys / Self.width)
    groupCoverage = Array(repeating: .none, count: maxRows / Self.height)
    edge = AlignedBuffer(zeros: Self.height * Self.width)
    slopes = AlignedBuffer(zeros: Self.height * Self.width)
  }

  var groups: Int { (rows + Self.height - 1) / Self.height }
  var panels: Int { (keys + Self.width - 1) / Self.width }

  // MARK: Keys

  /// Takes up a tile of keys, with gradients of zero.
  @unsafe
  mutating func load(keys tile: borrowing KeyTile) {
    keys = tile.count
    let across = unsafe keysAcross.unsafeBaseAddress
    let columns = unsafe keyColumns.unsafeBaseAddress
    for panel in 0..<panels {
      let source = unsafe tile.keyPanel(panel)
      let target = unsafe across + panel * Self.width * headDim
      unsafe target.update(from: source, count: Self.width * headDim)
      let count = min(Self.width, keys - panel * Self.width)
      for d in 0..<headDim {
        let place = d / Self.width * Self.width * TileSizes.backwardKeys + d % Self.width
        for key in 0..<count {
          let row = (panel * Self.width + key) * Self.width
          unsafe columns[place + row] = source[d * Self.width + key]
        }
      }
    }
    let values = unsafe valuesAcross.unsafeBaseAddress
    for column in 0..<valueHeadDim {
      let source = unsafe tile.valuePanel(column / Self.width) + column % Self.width
      for key in 0..<keys {
        let place = (key / Self.width * valueHeadDim + column) * Self.width + key % Self.width
        unsafe values[place] = source[key * Self.width]
      }
    }
    clearGradients()
    hasEarlier = false
  }

  private mutating func clearGradients() {
    unsafe dk.unsafeBaseAddress.update(repeating: 0, count: dk.count)
    unsafe dv.unsafeBaseAddress.update(repeating: 0, count: dv.count)
    tilesAtOnce = 0
  }

  /// Puts the gradients of the keys and values by if they are those of many tiles of queries: their
  /// sum is then as exact as if there were few.
  mutating func putGradientsBy() {
    tilesAtOnce += 1
    if tilesAtOnce == TileSizes.backwardTilesAtOnce { joinEarlier() }
  }

  private mutating func joinEarlier() {
    if !hasEarlier {
      earlierDK.clear()
      earlierDV.clear()
      hasEarlier = true
    }
    earlierDK.add(dk)
    earlierDV.add(dv)
    clearGradients()
  }

  /// Adds the gradients of the keys and values to reproducible sums.
  ///
  /// - Parameters:
  ///   - dkRows: lacks a factor ln 2.
  ///   - first: the row of the first key; those of its neighbours are `stride` rows apart.
  @unsafe
  func addGradients(
    toKeys dkRows: ReproducibleRows, toValues dvRows: ReproducibleRows, from first: Int,
    stride: Int
  ) {
    // One after the other: rows of both lie a multiple of 4 KiB apart, where the processor takes a
    // load to depend on a store (sums 5 % of the pass instead of 10 %).
    unsafe addRows(of: dk, to: dkRows, from: first, stride: stride)
    unsafe addRows(of: dv, to: dvRows, from: first, stride: stride)
  }

  @unsafe
  private func addRows(
    of gradients: borrowing AlignedBuffer<Float>, to sums: ReproducibleRows, from first: Int,
    stride: Int
  ) {
    for key in 0..<keys {
      unsafe sums.add(
        gradients.unsafeBaseAddress + key * Self.width,
        panelWidth: Self.width, panelStride: TileSizes.backwardKeys * Self.width, exponent: 0,
        to: first + key * stride)
    }
  }

  /// Adds the gradients of the keys and values to rows of `dk` and `dv`, once all queries have
  /// been.
  ///
  /// - Parameters:
  ///   - dkRows: row `key` lies at `key · dkStride`.
  ///   - dvRows: row `key` lies at `key · dvStride`.
  @unsafe
  mutating func addGradients(
    toKeys dkRows: UnsafeMutablePointer<Float>, stride dkStride: Int,
    toValues dvRows: UnsafeMutablePointer<Float>, stride dvStride: Int
  ) {
    if hasEarlier { joinEarlier() }
    let dkSource = unsafe hasEarlier ? earlierDK.sums : dk.unsafeBaseAddress
    let dvSource = unsafe hasEarlier ? earlierDV.sums : dv.unsafeBaseAddress
    unsafe addRows(of: dkSource, columns: headDim, factor: lnOf2, to: dkRows, stride: dkStride)
    unsafe addRows(of: dvSource, columns: valueHeadDim, factor: 1, to: dvRows, stride: dvStride)
  }

  @unsafe
  private func addRows(
    of source: UnsafePointer<Float>, columns: Int, factor: Float,
    to target: UnsafeMutablePointer<Float>, stride: Int
  ) {
    for key in 0..<keys {
      for column in 0..<columns {
        let panel = column / Self.width * TileSizes.backwardKeys
        let place = (panel + key) * Self.width + column % Self.width
        unsafe target[key * stride + column] += factor * source[place]
      }
    }
  }

  // MARK: Queries

  /// Takes up a tile of queries.
  ///
  /// - Parameters:
  ///   - source: the first row of each tensor.
  ///   - queryScale: scale · log₂e.
  @unsafe
  mutating func load(
    rows: Int, _ source: BackwardRows, shape: AttentionShape, queryScale: Float
  ) {
    self.rows = rows
    unsafe pack(
      source.queries, stride: shape.queryHeads * headDim, columns: headDim, factor: queryScale,
      to: queries.unsafeBaseAddress)
    unsafe pack(
      source.outputGradient, stride: shape.queryHeads * valueHeadDim, columns: valueHeadDim,
      factor: 1, to: outputGradients.unsafeBaseAddress)
    for row in 0..<groups * Self.height {
      // Rows that are not there get weights of 0, like rows that see nothing.
      unsafe lse.unsafeBaseAddress[row] = row < rows ? source.lse[row] : .infinity
      unsafe lseRemainder.unsafeBaseAddress[row] = row < rows ? source.lseRemainder[row] : 0
      unsafe delta.unsafeBaseAddress[row] = row < rows ? source.delta[row] : 0
    }
  }

  /// Copies rows to `[panels of W columns][rows][W]`, filled up with zeros.
  @unsafe
  private func pack(
    _ source: UnsafePointer<Float>, stride: Int, columns: Int, factor: Float,
    to target: UnsafeMutablePointer<Float>
  ) {
    let scale = Vector(repeating: factor)
    for first in Swift.stride(from: 0, to: columns, by: Self.width) {
      let panel = unsafe target + first * TileSizes.backwardQueries
      let count = min(Self.width, columns - first)
      for row in 0..<rows {
        let from = unsafe source + row * stride + first
        let to = unsafe panel + row * Self.width
        if count == Self.width {
          unsafe (Vector(loading: from, at: 0) * scale).store(to: to, at: 0)
          unsafe (Vector(loading: from, at: Vector.width) * scale)
            .store(to: to, at: Vector.width)
        } else {
          for column in 0..<Self.width {
            unsafe to[column] = column < count ? from[column] * factor : 0
          }
        }
      }
      for row in rows..<max(rows, groups * Self.height) {
        let to = unsafe panel + row * Self.width
        for column in 0..<Self.width { unsafe to[column] = 0 }
      }
    }
  }
}

/// The next multiple of the panel width.
func roundedUp(_ columns: Int) -> Int {
  (columns + TileSizes.panelWidth - 1) / TileSizes.panelWidth * TileSizes.panelWidth
}
