import AttentionTypes
import Tensors

/// The state of few rows while keys and values stream past them, read once, where they lie.
///
/// Many rows pay for copying keys to scratch (``KeyTile``). For a handful the copy is most of the
/// work, and what counts is how fast memory can be read. The rows are those of all query heads that
/// read a KV head; a register holds a panel's row for as many of them as there are.
///
/// The three passes of a ``ForwardTile`` go over ``keysAtOnce`` keys: processors look ahead in
/// memory along streams, and lose time at the start of each.
///
/// Where `isExact`, a row's bits are those of a ``ForwardTile``. Otherwise more keys share a
/// maximum, and scales are taken out of products.
///
/// Source: Dao 2023, FlashAttention-2, Algorithm 1.
struct FewRowsTile: ~Copyable {
  /// The most rows for which this is faster than a ``ForwardTile``.
  static var mostRows: Int { 48 }

  /// Keys that are taken in at once.
  let keysAtOnce: Int
  let isExact: Bool
  let headDim: Int
  let valueHeadDim: Int
  private let valuePanels: Int
  /// Rows that there is room for.
  private let capacity: Int
  private var segments: [RowSegment] = []
  /// Whether queries are small enough for scales to be taken out of products.
  private var isFactorable = false

  /// `[groups of 6 rows][headDim][6]`, scaled.
  private let queries: AlignedBuffer<Float>
  /// `[rows][scoreStride]`: scores, then weights.
  private let scores: AlignedBuffer<Float>
  let scoreStride: Int
  /// `[valuePanels][rows][W]`.
  private let outputs: AlignedBuffer<Float>
  private let rowMax: AlignedBuffer<Float>
  private let rowSum: AlignedBuffer<Float>
  /// What the pattern adds to some rows of a panel.
  private let bias: AlignedBuffer<Float>
  /// A panel that is not W wide, widened and filled up.
  let narrow: AlignedBuffer<Float>

  @inline(__always) static var width: Int { PackedPanel.width }
  @inline(__always) static var height: Int { TileSizes.registerRows }

  /// Queries below this keep factored products finite, whatever the keys.
  private static var largestFactored: Float { 0x1p64 }

  /// Makes room for rows.
  ///
  /// - Parameters:
  ///   - rows: at most.
  ///   - leaf: the most keys that begin with a state that has seen nothing.
  ///   - isExact: whether bits must be those of a ``ForwardTile``.
  init(shape: AttentionShape, rows: Int, leaf: Int, isExact: Bool) {
    self.isExact = isExact
    keysAtOnce = isExact ? TileSizes.keys : leaf
    headDim = shape.headDim
    valueHeadDim = shape.valueHeadDim
    valuePanels = (valueHeadDim + Self.width - 1) / Self.width
    // The last strip may have three rows too many.
    capacity = (rows + 3 + Self.height - 1) / Self.height * Self.height
    queries = AlignedBuffer(zeros: capacity * headDim)
    // The extra 16 keep rows out of one cache set.
    scoreStride = keysAtOnce + 16
    scores = AlignedBuffer(zeros: capacity * scoreStride)
    outputs = AlignedBuffer(zeros: valuePanels * capacity * Self.width)
    rowMax = AlignedBuffer(zeros: capacity)
    rowSum = AlignedBuffer(zeros: capacity)
    bias = AlignedBuffer(zeros: Self.height * Self.width)
    narrow = AlignedBuffer(zeros: Self.width * max(headDim, keysAtOnce))
  }

  // MARK: Loading and storing the state

  /// Rows in use.
  var rows: Int { segments.last?.rows.upperBound ?? 0 }

  /// What the rows have found out; valid for as long as the tile is.
  var state: LeafState {
    unsafe LeafState(
      rows: rows, rowMax: rowMax.unsafeBaseAddress, rowSum: rowSum.unsafeBaseAddress,
      outputs: outputs.unsafeBaseAddress, panelWidth: Self.width,
      panelStride: capacity * Self.width, valuePanels: valuePanels)
  }

  /// Takes up the queries of all segments.
  ///
  /// - Parameters:
  ///   - queries: of a sequence, `[tokens, queryHeads, headDim]`.
  ///   - scale: multiplies the scores, with log₂e folded in.
  @unsafe
  mutating func load(
    queries source: UnsafePointer<Float>, queryHeads: Int, segments: [RowSegment], scale: Float
  ) {
    self.segments = segments
    unsafe queries.unsafeBaseAddress.update(repeating: 0, count: queries.count)
    var largest: Float = 0
    for segment in segments {
      for (index, row) in segment.rows.enumerated() {
        let query =
          unsafe source + ((segment.firstToken + index) * queryHeads + segment.head) * headDim
        let column = unsafe queryColumn(row)
        for d in 0..<headDim {
          let number = unsafe query[d] * scale
          unsafe column[d * Self.height] = number
          largest = max(largest, abs(number))
        }
      }
    }
    isFactorable = largest < Self.largestFactored
  }

  /// Where a row begins in the packed queries.
  @unsafe @inline(__always)
  func queryColumn(_ row: Int) -> UnsafeMutablePointer<Float> {
    unsafe queries.unsafeBaseAddress + row / Self.height * Self.height * headDim
      + row % Self.height
  }

  @unsafe @inline(__always)
  func scoreRow(_ row: Int) -> UnsafeMutablePointer<Float> {
    unsafe scores.unsafeBaseAddress + row * scoreStride
  }

  @unsafe @inline(__always)
  func outputRow(panel: Int, row: Int) -> UnsafeMutablePointer<Float> {
    unsafe outputs.unsafeBaseAddress + (panel * capacity + row) * Self.width
  }

  /// Starts with rows that have seen nothing.
  mutating func clearState() {
    unsafe rowMax.unsafeBaseAddress.update(repeating: -.infinity, count: rows)
    unsafe rowSum.unsafeBaseAddress.update(repeating: 0, count: rows)
    for panel in 0..<valuePanels {
      unsafe outputRow(panel: panel, row: 0).update(repeating: 0, count: rows * Self.width)
    }
  }

  // MARK: Some keys

  /// Takes some keys of a head into the state.
  ///
  /// - Parameters:
  ///   - head: packed keys and values.
  ///   - first: the first key, a multiple of W.
  ///   - count: at most ``keysAtOnce``.
  ///   - mask: what the rows of a segment see of them; nil if everything, with nothing added.
  ///   - rule: what becomes of their scores; nil if nothing does.
  @unsafe
  mutating func attend(
    to head: PackedHead, first: Int, count: Int, mask: (RowSegment) -> TileMask?,
    rule: (RowSegment) -> TileRule?
  ) {
    let keys = unsafe KeyStretch(head: head, first: first, count: count)
    switch unsafe head.elementType {
    case .f32: unsafe attend(Float.self, keys, mask, rule)
    case .f16: unsafe attend(Float16.self, keys, mask, rule)
    case .bf16: unsafe attend(BFloat16.self, keys, mask, rule)
    case .int8 where isExact || !isFactorable: unsafe attend(Int8.self, keys, mask, rule)
    case .int8: unsafe attend(FactoredInt8.self, keys, mask, rule)
    }
  }

  /// Some keys and values of a head.
  @unsafe
  struct KeyStretch {
    let head: PackedHead
    let first: Int
    let count: Int
  }

  @unsafe @inline(__always)
  private mutating func attend<Element: PanelElement>(
    _ type: Element.Type, _ keys: KeyStretch, _ mask: (RowSegment) -> TileMask?,
    _ rule: (RowSegment) -> TileRule?
  ) {
    let count = unsafe keys.count
    unsafe computeScores(type, keys)
    for segment in segments {
      unsafe rule(segment)?.apply(
        to: scoreRow(segment.firstRow), stride: scoreStride, keys: 0..<count,
        queries: 0..<segment.positions.count)
    }
    let visible = unsafe hideScores(count: count, mask)
    if visible.isEmpty { return }
    unsafe computeWeights(visible)
    if Element.isFactored { unsafe multiplyWeights(type, keys) }
    unsafe accumulateOutputs(type, keys, visible)
  }

  // MARK: What is seen

  /// Adds biases, and hides what is not seen and what is past the last key.
  ///
  /// - Returns: the keys that any row sees, in whole panels of ``TileSizes/panelWidth``.
  @unsafe
  private func hideScores(count: Int, _ mask: (RowSegment) -> TileMask?) -> Range<Int> {
    let wide = TileSizes.panelWidth
    let end = (count + wide - 1) / wide * wide
    for row in 0..<rows { unsafe hide(count..<end, row: row) }
    var (lower, upper) = (end, 0)
    for segment in segments {
      switch mask(segment) {
      case .none: return 0..<end
      case .some(let mask):
        for first in stride(from: 0, to: count, by: Self.width) {
          let columns = first..<min(first + Self.width, count)
          guard unsafe addBias(mask, to: segment, columns) else { continue }
          (lower, upper) = (min(lower, first), max(upper, columns.upperBound))
        }
      }
    }
    if lower >= upper { return 0..<0 }
    return lower / wide * wide..<(upper + wide - 1) / wide * wide
  }

  /// Adds biases to some scores of a segment, as many rows at a time as there is room for.
  ///
  /// - Returns: whether any of them is seen.
  @unsafe
  private func addBias(
    _ mask: borrowing TileMask, to segment: RowSegment, _ columns: Range<Int>
  ) -> Bool {
    var isSeen = false
    for first in stride(from: 0, to: segment.positions.count, by: Self.height) {
      let part = first..<min(first + Self.height, segment.positions.count)
      let coverage = mask.coverage(keys: columns, queries: part)
      if coverage == .none {
        for row in part { unsafe hide(columns, row: segment.firstRow + row) }
        continue
      }
      isSeen = true
      if coverage == .some || mask.pattern.hasBias {
        unsafe mask.addBias(
          to: scoreRow(segment.firstRow + first) + columns.lowerBound, stride: scoreStride,
          keys: mask.keys.slice(columns), queries: mask.queries.slice(part), scratch: bias)
      }
    }
    return isSeen
  }

  @unsafe
  private func hide(_ columns: Range<Int>, row: Int) {
    for key in columns { unsafe scoreRow(row)[key] = -.infinity }
  }

  // MARK: Weights

  @unsafe
  private func computeWeights(_ visible: Range<Int>) {
    for row in 0..<rows {
      let factor = unsafe weigh(
        scoreRow(row), visible, into: scoreRow(row), rowMax: &rowMax.unsafeBaseAddress[row],
        rowSum: &rowSum.unsafeBaseAddress[row])
      guard let factor else { continue }
      for panel in 0..<valuePanels {
        let output = unsafe outputRow(panel: panel, row: row)
        for first in stride(from: 0, to: Self.width, by: Vector.width) {
          unsafe (Vector(loading: output, at: first) * factor).store(to: output, at: first)
        }
      }
    }
  }

  /// Multiplies weights by the scales of their values.
  @unsafe
  private func multiplyWeights<Element: PanelElement>(_ type: Element.Type, _ keys: KeyStretch) {
    let scales = unsafe keys.head.valueScales(from: keys.first)
    let unit = Vector(repeating: Element.unit)
    for row in 0..<rows {
      let weights = unsafe scoreRow(row)
      var key = 0
      while unsafe key + Vector.width <= keys.count {
        unsafe (Vector(loading: weights, at: key) * (Element.scales(scales, at: key) * unit))
          .store(to: weights, at: key)
        key += Vector.width
      }
      while unsafe key < keys.count {
        unsafe weights[key] *= Element.scale(scales, at: key) * Element.unit
        key += 1
      }
    }
  }
}
