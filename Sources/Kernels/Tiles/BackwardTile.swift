import AttentionTypes
import Tensors

/// One tile of keys while tiles of queries stream past it: gradients of the keys and values are
/// collected here, those of the queries are added where they belong.
///
/// All five products are the micro-kernel of ``FactorTile``. Rows that are broadcast come from
/// whatever lies in panels of columns, a panel's steps at a time, or, for the products that sum
/// over queries, from the columns of the weights: then the rows are neighbours in memory.
///
/// Panels are W = ``TileSizes/panelWidth`` wide. Factors of more than one number are made of
/// neighbours in the direction that a product sums over, so what is a row of one product and a
/// panel of another is held twice; a factor of one number serves both.
///
/// Source: Dao 2023, FlashAttention-2, Algorithm 2.
struct BackwardTile<Element: Factor>: ~Copyable {
  let headDim: Int
  let valueHeadDim: Int
  /// Keys in use.
  private(set) var keys = 0
  /// Query rows in use.
  private(set) var rows = 0
  /// The first of them among those that were to be looked at.
  private(set) var firstRow = 0

  /// `[panels of W keys][steps of headDim][W]`.
  let keysAcross: AlignedBuffer<Element>
  /// `[panels of W columns][steps of keys][W]`.
  let keyColumns: AlignedBuffer<Element>
  /// `[panels of W keys][steps of valueHeadDim][W]`.
  let valuesAcross: AlignedBuffer<Element>
  /// `[panels of W columns][keys][W]`, or, transposed, `[panels of W keys][columns][W]`; dk lacks a
  /// factor ln 2, since the queries have log₂e, or, if scores are scaled, all of the scale.
  var dk: AlignedBuffer<Float>
  var dv: AlignedBuffer<Float>
  /// What tiles of queries before the last ones have contributed to both.
  private let earlierDK: CompensatedBuffer
  private let earlierDV: CompensatedBuffer
  /// Tiles of queries that `dk` and `dv` come from.
  private var tilesAtOnce = 0
  /// Whether there are earlier ones.
  private var hasEarlier = false

  /// Multiplies scores, with log₂e, if they are not scaled yet.
  private(set) var scoreScale: Float = 1
  /// What scores of the tile lack when they become weights.
  var missingScale: Float = 1
  /// `[panels of W columns][steps of rows][W]`, multiplied by scale · log₂e if scores are not; or
  /// transposed, `[groups of H columns][steps of rows / R][H][R]`, H being ``Factor/groupRows`` and
  /// R ``Factor/stepRun``.
  let queries: AlignedBuffer<Element>
  /// Likewise.
  let outputGradients: AlignedBuffer<Element>
  /// The same as factors of neighbouring columns, `[panels of rowSteps][rows][rowSteps]`; nothing
  /// if a factor is one number.
  let queryRows: AlignedBuffer<Element>
  let outputGradientRows: AlignedBuffer<Element>
  /// Scores of one register tile, `[H][W]`, and the gradients of its weights.
  let scores: AlignedBuffer<Float>
  let weightGradients: AlignedBuffer<Float>
  /// `[steps of rows][stride]`, or, transposed, `[panels of W keys][steps of rows][W]`.
  let weights: AlignedBuffer<Element>
  /// Gradients of the scores, likewise.
  let scoreGradients: AlignedBuffer<Element>
  /// The same as factors of neighbouring keys, `[rows][stride]`; nothing if a factor is one number.
  let scoreGradientRows: AlignedBuffer<Element>
  let lse: AlignedBuffer<Float>
  /// What rounding took from `lse`.
  let lseRemainder: AlignedBuffer<Float>
  let delta: AlignedBuffer<Float>

  /// For each group of rows the panels of keys that any of them sees, and the keys among them
  /// that gradients of scores are multiplied by; for each group of keys the groups of rows that
  /// see any of them.
  var visiblePanels: [Range<Int>]
  var visibleKeys: [Range<Int>]
  var visibleGroups: [Range<Int>]
  /// What each row sees of the keys, as far as that was asked.
  var ranges = RowRanges(capacity: Element.backwardQueries, height: Element.groupRows)
  /// What the pattern adds to one register tile, and a register tile on the edge of dq.
  let edge: AlignedBuffer<Float>
  /// What each group of rows sees of the tile of keys.
  var groupCoverage: [Coverage]
  /// The derivatives of a score rule for one register tile.
  let slopes: AlignedBuffer<Float>

  static var width: Int { TileSizes.panelWidth }
  static var height: Int { Element.groupRows }

  /// Whether gradients of keys and values are collected transposed.
  @inline(__always) static var isTransposed: Bool { Element.stepRun > 1 }

  /// Whether rows and panels are the same factors.
  @inline(__always) static var sharesFactors: Bool { Element.depth == 1 }
  /// Steps of a panel of rows: a vector of factors, or, where they are shared, W.
  @inline(__always) static var rowSteps: Int { sharesFactors ? width : Vector.width }

  init(shape: AttentionShape) {
    headDim = shape.headDim
    valueHeadDim = shape.valueHeadDim
    let (maxRows, maxKeys) = (Element.backwardQueries, TileSizes.backwardKeys)
    let columns = roundedUp(shape.headDim)
    let valueColumns = roundedUp(shape.valueHeadDim)
    func factors(_ count: Int) -> AlignedBuffer<Element> {
      AlignedBuffer(repeating: .zero, count: count)
    }
    /// Of rows with so many columns.
    func rowFactors(_ columns: Int) -> AlignedBuffer<Element> {
      let panels = (Element.steps(of: columns) + Self.rowSteps - 1) / Self.rowSteps
      return factors(Self.sharesFactors ? 0 : panels * maxRows * Self.rowSteps)
    }
    keysAcross = factors(maxKeys * Element.steps(of: shape.headDim))
    valuesAcross = factors(maxKeys * Element.steps(of: shape.valueHeadDim))
    keyColumns = factors(Element.steps(of: maxKeys) * columns)
    dk = AlignedBuffer(zeros: maxKeys * columns)
    dv = AlignedBuffer(zeros: maxKeys * valueColumns)
    earlierDK = CompensatedBuffer(count: maxKeys * columns)
    earlierDV = CompensatedBuffer(count: maxKeys * valueColumns)
    queries = factors(Element.steps(of: maxRows) * columns)
    outputGradients = factors(Element.steps(of: maxRows) * valueColumns)
    queryRows = rowFactors(shape.headDim)
    outputGradientRows = rowFactors(shape.valueHeadDim)
    scores = AlignedBuffer(zeros: Self.height * Self.width)
    weightGradients = AlignedBuffer(zeros: Self.height * Self.width)
    weights = factors(Element.steps(of: maxRows) * Element.backwardStride)
    scoreGradients = factors(Element.steps(of: maxRows) * Element.backwardStride)
    scoreGradientRows = factors(
      Self.sharesFactors ? 0 : maxRows * Element.steps(of: Element.backwardStride))
    lse = AlignedBuffer(zeros: maxRows)
    lseRemainder = AlignedBuffer(zeros: maxRows)
    delta = AlignedBuffer(zeros: maxRows)
    visiblePanels = Array(repeating: 0..<0, count: maxRows / Self.height)
    visibleKeys = visiblePanels
    visibleGroups = Array(repeating: 0..<0, count: maxKeys / Self.height)
    groupCoverage = Array(repeating: .none, count: maxRows / Self.height)
    edge = AlignedBuffer(zeros: Self.height * Self.width)
    slopes = AlignedBuffer(zeros: Self.height * Self.width)
  }

  var groups: Int { (rows + Self.height - 1) / Self.height }
  var panels: Int { (keys + Self.width - 1) / Self.width }

  // MARK: Keys

  /// Takes up a tile of keys, with gradients of zero.
  @unsafe
  mutating func load(keys tile: borrowing KeyTile<Element>) {
    keys = tile.count
    for panel in 0..<panels {
      let count = Self.width * tile.keySteps
      unsafe (keysAcross.unsafeBaseAddress + panel * count)
        .update(from: tile.keyPanel(panel), count: count)
      unsafe transpose(
        tile.keyPanel(panel), steps: headDim, lanes: min(Self.width, keys - panel * Self.width),
        from: panel * Self.width, to: keyColumns, depth: TileSizes.backwardKeys)
    }
    for panel in 0..<(valueHeadDim + Self.width - 1) / Self.width {
      unsafe transpose(
        tile.valuePanel(panel), steps: keys,
        lanes: min(Self.width, valueHeadDim - panel * Self.width), from: panel * Self.width,
        to: valuesAcross, depth: valueHeadDim)
    }
    clearGradients()
    hasEarlier = false
  }

  /// Puts the numbers of a panel into panels whose lanes are its steps.
  ///
  /// - Parameters:
  ///   - steps: numbers in the direction of the steps.
  ///   - lanes: those that are in use.
  ///   - first: the step of the target that the first lane becomes.
  ///   - depth: numbers in the direction of the target's steps.
  @unsafe
  private func transpose(
    _ panel: UnsafePointer<Element>, steps: Int, lanes: Int, from first: Int,
    to target: borrowing AlignedBuffer<Element>, depth: Int
  ) {
    let source = unsafe UnsafeRawPointer(panel).assumingMemoryBound(to: Element.Number.self)
    let place = unsafe UnsafeMutableRawPointer(target.unsafeBaseAddress)
      .assumingMemoryBound(to: Element.Number.self)
    let numbers = Element.steps(of: depth) * Element.depth * Self.width
    /// Where number `step` of a lane lies in a panel.
    func index(_ step: Int, _ lane: Int) -> Int {
      (step / Element.depth * Self.width + lane) * Element.depth + step % Element.depth
    }
    // Lanes past the last are zero, and fill up its factor.
    let lanes = Element.steps(of: lanes) * Element.depth
    for step in 0..<steps {
      let to = step / Self.width * numbers
      for lane in 0..<lanes {
        unsafe place[to + index(first + lane, step % Self.width)] = source[index(step, lane)]
      }
    }
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
    precondition(!Self.isTransposed, "rows of reproducible sums lie one after the other")
    if Element.scalesScores { scaleKeyGradients() }
    unsafe addRows(of: dk, to: dkRows, from: first, stride: stride)
    unsafe addRows(of: dv, to: dvRows, from: first, stride: stride)
  }

  /// Makes the gradients of the keys lack nothing but ln 2.
  private func scaleKeyGradients() {
    for first in stride(from: 0, to: dk.count, by: Vector.width) {
      unsafe (Vector(loading: dk.unsafeBaseAddress, at: first) * scoreScale)
        .store(to: dk.unsafeBaseAddress, at: first)
    }
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
    let dkFactor = Element.scalesScores ? scoreScale * lnOf2 : lnOf2
    unsafe addRows(of: dkSource, columns: headDim, factor: dkFactor, to: dkRows, stride: dkStride)
    unsafe addRows(of: dvSource, columns: valueHeadDim, factor: 1, to: dvRows, stride: dvStride)
  }

  @unsafe
  private func addRows(
    of source: UnsafePointer<Float>, columns: Int, factor: Float,
    to target: UnsafeMutablePointer<Float>, stride: Int
  ) {
    if Self.isTransposed {
      for key in 0..<keys {
        let from =
          unsafe source + key / Self.width * Self.width * roundedUp(columns) + key % Self.width
        for column in 0..<columns {
          unsafe target[key * stride + column] += factor * from[column * Self.width]
        }
      }
      return
    }
    for first in Swift.stride(from: 0, to: columns, by: Self.width) {
      let panel = unsafe source + first * TileSizes.backwardKeys
      let count = min(Self.width, columns - first)
      for key in 0..<keys {
        let (from, to) = unsafe (panel + key * Self.width, target + key * stride + first)
        if count == Self.width {
          unsafe (Vector(loading: from, at: 0) * factor).add(to: to, at: 0)
          unsafe (Vector(loading: from, at: Vector.width) * factor).add(to: to, at: Vector.width)
        } else {
          for column in 0..<count { unsafe to[column] += factor * from[column] }
        }
      }
    }
  }

  // MARK: Queries

  /// Takes up a tile of queries.
  ///
  /// - Parameters:
  ///   - firstRow: which of those that were to be looked at is the first that is taken.
  ///   - source: that row of each tensor.
  ///   - queryScale: scale · log₂e.
  @unsafe
  mutating func load(
    rows: Int, from firstRow: Int, _ source: BackwardRows, shape: AttentionShape, queryScale: Float
  ) {
    self.rows = rows
    self.firstRow = firstRow
    scoreScale = Element.scalesScores ? queryScale : 1
    unsafe pack(
      source.queries, stride: shape.queryHeads * headDim, columns: headDim,
      factor: Element.scalesScores ? 1 : queryScale, to: queries, queryRows)
    unsafe pack(
      source.outputGradient, stride: shape.queryHeads * valueHeadDim, columns: valueHeadDim,
      factor: 1, to: outputGradients, outputGradientRows)
    for row in 0..<groups * Self.height {
      // Rows that are not there get weights of 0, like rows that see nothing.
      unsafe lse.unsafeBaseAddress[row] = row < rows ? source.lse[row] : .infinity
      unsafe lseRemainder.unsafeBaseAddress[row] = row < rows ? source.lseRemainder[row] : 0
      unsafe delta.unsafeBaseAddress[row] = row < rows ? source.delta[row] : 0
    }
  }
}

/// The next multiple of the panel width.
func roundedUp(_ columns: Int) -> Int {
  (columns + TileSizes.panelWidth - 1) / TileSizes.panelWidth * TileSizes.panelWidth
}
