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
  private let headDim: Int
  private let valueHeadDim: Int
  /// Keys in use.
  private var keys = 0
  /// Query rows in use.
  private var rows = 0

  /// `[panels of W keys][headDim][W]`.
  private let keysAcross: AlignedBuffer<Float>
  /// `[panels of W columns][keys][W]`.
  private let keyColumns: AlignedBuffer<Float>
  /// `[panels of W keys][valueHeadDim][W]`.
  private let valuesAcross: AlignedBuffer<Float>
  /// `[panels of W columns][keys][W]`; dk lacks a factor ln 2, since the queries have log₂e.
  private var dk: AlignedBuffer<Float>
  private var dv: AlignedBuffer<Float>

  /// `[panels of W columns][rows][W]`, multiplied by scale · log₂e.
  private let queries: AlignedBuffer<Float>
  /// `[panels of W columns][rows][W]`.
  private let outputGradients: AlignedBuffer<Float>
  /// `[rows][stride]`: scores, then weights.
  private let weights: AlignedBuffer<Float>
  /// `[rows][stride]`: gradients of the scores.
  private let scoreGradients: AlignedBuffer<Float>
  private let lse: AlignedBuffer<Float>
  private let delta: AlignedBuffer<Float>

  /// For each group of 6 rows the panels of keys that any of them sees, and for each panel of keys
  /// the groups of rows that see any of them.
  private var visiblePanels: [Range<Int>]
  private var visibleGroups: [Range<Int>]
  /// What the pattern adds to one register tile, and a register tile on the edge of dq.
  private let edge: AlignedBuffer<Float>

  private static var width: Int { TileSizes.panelWidth }
  private static var height: Int { TileSizes.registerRows }

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
    queries = AlignedBuffer(zeros: maxRows * columns)
    outputGradients = AlignedBuffer(zeros: maxRows * valueColumns)
    weights = AlignedBuffer(zeros: maxRows * TileSizes.backwardStride)
    scoreGradients = AlignedBuffer(zeros: maxRows * TileSizes.backwardStride)
    lse = AlignedBuffer(zeros: maxRows)
    delta = AlignedBuffer(zeros: maxRows)
    visiblePanels = Array(repeating: 0..<0, count: maxRows / Self.height)
    visibleGroups = Array(repeating: 0..<0, count: maxKeys / Self.width)
    edge = AlignedBuffer(zeros: Self.height * Self.width)
  }

  private var groups: Int { (rows + Self.height - 1) / Self.height }
  private var panels: Int { (keys + Self.width - 1) / Self.width }

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
    unsafe dk.unsafeBaseAddress.update(repeating: 0, count: dk.count)
    unsafe dv.unsafeBaseAddress.update(repeating: 0, count: dv.count)
  }

  /// Adds the gradients of the keys and values to rows of `dk` and `dv`.
  ///
  /// - Parameters:
  ///   - dkRows: row `key` lies at `key · dkStride`.
  ///   - dvRows: row `key` lies at `key · dvStride`.
  @unsafe
  func addGradients(
    toKeys dkRows: UnsafeMutablePointer<Float>, stride dkStride: Int,
    toValues dvRows: UnsafeMutablePointer<Float>, stride dvStride: Int
  ) {
    unsafe addRows(of: dk, columns: headDim, factor: lnOf2, to: dkRows, stride: dkStride)
    unsafe addRows(of: dv, columns: valueHeadDim, factor: 1, to: dvRows, stride: dvStride)
  }

  @unsafe
  private func addRows(
    of gradients: borrowing AlignedBuffer<Float>, columns: Int, factor: Float,
    to target: UnsafeMutablePointer<Float>, stride: Int
  ) {
    let source = unsafe gradients.unsafeBaseAddress
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

  // MARK: One tile of queries against the tile of keys

  /// Collects the gradients of the keys and values, and prepares those of the queries.
  ///
  /// - Parameter mask: what the rows see of the keys; nil if everything, with nothing added.
  @unsafe
  mutating func attend(mask: TileMask?) {
    for group in 0..<groups { visiblePanels[group] = mask == nil ? 0..<panels : 0..<0 }
    for panel in 0..<panels { visibleGroups[panel] = mask == nil ? 0..<groups : 0..<0 }
    for panel in 0..<panels {
      for group in 0..<groups {
        guard let mask else {
          unsafe computeScores(panel: panel, group: group)
          unsafe computeGradients(panel: panel, group: group)
          continue
        }
        let keyPositions = mask.keys.slice(
          panel * Self.width..<min((panel + 1) * Self.width, keys))
        let queryPositions = mask.queries.slice(
          group * Self.height..<min((group + 1) * Self.height, rows))
        let coverage = mask.pattern.coverage(keys: keyPositions, queries: queryPositions)
        if coverage == .none {
          unsafe clear(panel: panel, group: group)
          continue
        }
        visiblePanels[group] = extended(visiblePanels[group], by: panel)
        visibleGroups[panel] = extended(visibleGroups[panel], by: group)
        unsafe computeScores(panel: panel, group: group)
        if coverage == .some || mask.pattern.hasBias {
          unsafe addBias(
            mask, keys: keyPositions, queries: queryPositions, panel: panel, group: group)
        }
        unsafe computeGradients(panel: panel, group: group)
      }
    }
    unsafe collect(
      weights, from: outputGradients, columns: valueHeadDim, to: dv)
    unsafe collect(scoreGradients, from: queries, columns: headDim, to: dk)
  }

  @unsafe @inline(__always)
  private func place(panel: Int, group: Int) -> Int {
    group * Self.height * TileSizes.backwardStride + panel * Self.width
  }

  /// Scores of one register tile: `q kᵀ`.
  @unsafe
  private func computeScores(panel: Int, group: Int) {
    let product = unsafe rowsTimesPanel(
      queries, columns: headDim, group: group, panels: keysAcross, panel: panel)
    unsafe product.store(
      to: weights.unsafeBaseAddress + place(panel: panel, group: group),
      stride: TileSizes.backwardStride)
  }

  /// Weights and gradients of the scores of one register tile: `p = 2^(s − lse)` and
  /// `ds = p ∘ (do vᵀ − Δ)`.
  @unsafe
  private func computeGradients(panel: Int, group: Int) {
    let product = unsafe rowsTimesPanel(
      outputGradients, columns: valueHeadDim, group: group, panels: valuesAcross, panel: panel)
    let first = unsafe place(panel: panel, group: group)
    let weightTile = unsafe weights.unsafeBaseAddress + first
    let gradientTile = unsafe scoreGradients.unsafeBaseAddress + first
    unsafe product.store(to: gradientTile, stride: TileSizes.backwardStride)
    for row in 0..<Self.height {
      let shift = unsafe Vector(repeating: lse.unsafeBaseAddress[group * Self.height + row])
      let mean = unsafe Vector(repeating: delta.unsafeBaseAddress[group * Self.height + row])
      for half in [0, Vector.width] {
        let offset = row * TileSizes.backwardStride + half
        let weight = unsafe exp2(Vector(loading: weightTile, at: offset) - shift)
        let gradient = unsafe Vector(loading: gradientTile, at: offset) - mean
        unsafe weight.store(to: weightTile, at: offset)
        unsafe (weight * gradient).store(to: gradientTile, at: offset)
      }
    }
  }

  /// Six rows times one panel of W keys, W columns at a time.
  @unsafe @inline(__always)
  private func rowsTimesPanel(
    _ rows: borrowing AlignedBuffer<Float>, columns: Int, group: Int,
    panels: borrowing AlignedBuffer<Float>, panel: Int
  ) -> RegisterTile {
    var product = RegisterTile()
    let source = unsafe UnsafePointer(rows.unsafeBaseAddress) + group * Self.height * Self.width
    let across = unsafe UnsafePointer(panels.unsafeBaseAddress) + panel * Self.width * columns
    var column = 0
    while column + Self.width <= columns {
      unsafe product.accumulate(
        rows: source + column * TileSizes.backwardQueries, rowStride: Self.width, stepStride: 1,
        panel: across + column * Self.width, steps: Self.width)
      column += Self.width
    }
    if column < columns {
      unsafe product.accumulate(
        rows: source + column * TileSizes.backwardQueries, rowStride: Self.width, stepStride: 1,
        panel: across + column * Self.width, steps: columns - column)
    }
    return product
  }

  /// Zero weights where nothing is seen.
  @unsafe
  private func clear(panel: Int, group: Int) {
    let first = unsafe place(panel: panel, group: group)
    for row in 0..<Self.height {
      for half in [0, Vector.width] {
        let offset = first + row * TileSizes.backwardStride + half
        unsafe Vector().store(to: weights.unsafeBaseAddress, at: offset)
        unsafe Vector().store(to: scoreGradients.unsafeBaseAddress, at: offset)
      }
    }
  }

  @unsafe
  private func addBias(
    _ mask: TileMask, keys: PositionRange, queries: PositionRange, panel: Int, group: Int
  ) {
    let source = unsafe edge.unsafeBaseAddress
    var span = unsafe MutableSpan(_unsafeStart: source, count: keys.count * queries.count)
    mask.pattern.fill(&span, keys: keys, queries: queries, head: mask.head)
    let target = unsafe weights.unsafeBaseAddress + place(panel: panel, group: group)
    for row in 0..<queries.count {
      for key in 0..<keys.count {
        unsafe target[row * TileSizes.backwardStride + key] +=
          source[row * keys.count + key] * log2OfE
      }
    }
  }

  /// Adds `Σ_rows factors[row, key] · source[row, :]` to the rows of the keys.
  @unsafe
  private func collect(
    _ factors: borrowing AlignedBuffer<Float>, from source: borrowing AlignedBuffer<Float>,
    columns: Int, to target: borrowing AlignedBuffer<Float>
  ) {
    for first in stride(from: 0, to: columns, by: Self.width) {
      let panel = unsafe UnsafePointer(source.unsafeBaseAddress) + first * TileSizes.backwardQueries
      for key in stride(from: 0, to: keys, by: Self.height) {
        let seen = joined(
          visibleGroups[key / Self.width],
          visibleGroups[min(key + Self.height - 1, keys - 1) / Self.width])
        if seen.isEmpty { continue }
        let begin = seen.lowerBound * Self.height
        let end = seen.upperBound * Self.height
        var product = RegisterTile()
        unsafe product.accumulate(
          rows: UnsafePointer(factors.unsafeBaseAddress) + begin * TileSizes.backwardStride + key,
          rowStride: 1, stepStride: TileSizes.backwardStride,
          panel: panel + begin * Self.width, steps: end - begin)
        unsafe product.add(
          to: target.unsafeBaseAddress + (first * TileSizes.backwardKeys + key * Self.width),
          stride: Self.width)
      }
    }
  }

  /// Adds `ds k` to the rows of the queries' gradients.
  ///
  /// - Parameter dq: row `row` lies at `row · stride`.
  @unsafe
  func addQueryGradients(to dq: UnsafeMutablePointer<Float>, stride: Int) {
    for first in Swift.stride(from: 0, to: headDim, by: Self.width) {
      let columns =
        unsafe UnsafePointer(keyColumns.unsafeBaseAddress)
        + first * TileSizes.backwardKeys
      for group in 0..<groups {
        let seen = visiblePanels[group]
        if seen.isEmpty { continue }
        let begin = seen.lowerBound * Self.width
        let end = min(seen.upperBound * Self.width, keys)
        let row = group * Self.height
        var product = RegisterTile()
        unsafe product.accumulate(
          rows: UnsafePointer(scoreGradients.unsafeBaseAddress) + row * TileSizes.backwardStride
            + begin,
          rowStride: TileSizes.backwardStride, stepStride: 1,
          panel: columns + begin * Self.width, steps: end - begin)
        let target = unsafe dq + row * stride + first
        let (height, width) = (min(Self.height, rows - row), min(Self.width, headDim - first))
        if height == Self.height, width == Self.width {
          unsafe product.add(to: target, stride: stride)
        } else {
          let tile = unsafe edge.unsafeBaseAddress
          unsafe product.store(to: tile, stride: Self.width)
          for y in 0..<height {
            for x in 0..<width { unsafe target[y * stride + x] += tile[y * Self.width + x] }
          }
        }
      }
    }
  }
}

/// ln 2.
let lnOf2: Float = 0.693_147_18

/// The next multiple of the panel width.
private func roundedUp(_ columns: Int) -> Int {
  (columns + TileSizes.panelWidth - 1) / TileSizes.panelWidth * TileSizes.panelWidth
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

/// The tensors that a backward tile reads rows of and adds rows to.
@unsafe
struct BackwardRows {
  let queries: UnsafePointer<Float>
  let outputGradient: UnsafePointer<Float>
  let lse: UnsafePointer<Float>
  let delta: UnsafePointer<Float>
  let dq: UnsafeMutablePointer<Float>
}
