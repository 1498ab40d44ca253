import AttentionTypes
import Tensors

/// Up to ``TileSizes/keys`` keys and values as panels of floats, W =
/// ``TileSizes/panelWidth`` wide throughout.
///
/// Loading a tile widens its elements, puts packed panels side by side where W is more than one of
/// them, and fills narrow ones up with zeros, once for all the rows that pass over it. Panels of
/// `Float` are copied too: read in place they lie megabytes apart, and the kernel waits for the
/// last-level cache and the page tables (measured at head dim 128: 76 % of the multiply–add peak in
/// place, 84 % copied). A few rows are another matter: see ``ForwardTile/readsInPlace(count:)``.
struct KeyTile: ~Copyable {
  /// Keys in the tile.
  private(set) var count = 0
  private let headDim: Int
  private let valueHeadDim: Int
  /// `[panels of W keys][headDim][W]`.
  private let keys: AlignedBuffer<Float>
  /// `[panels of W columns][count][W]`.
  private let values: AlignedBuffer<Float>

  /// Creates an empty tile with room for ``TileSizes/keys`` keys.
  init(shape: AttentionShape) {
    headDim = shape.headDim
    valueHeadDim = shape.valueHeadDim
    let width = TileSizes.panelWidth
    let valueColumns = (shape.valueHeadDim + width - 1) / width * width
    keys = AlignedBuffer(zeros: TileSizes.keys * shape.headDim)
    values = AlignedBuffer(zeros: TileSizes.keys * valueColumns)
  }

  /// Panels of W keys.
  var panelCount: Int { (count + TileSizes.panelWidth - 1) / TileSizes.panelWidth }

  /// Panel `index` of the keys, `[headDim][W]`.
  @unsafe @inline(__always)
  func keyPanel(_ index: Int) -> UnsafePointer<Float> {
    unsafe UnsafePointer(keys.unsafeBaseAddress) + index * TileSizes.panelWidth * headDim
  }

  /// Panel `index` of the values, `[count][W]`.
  @unsafe @inline(__always)
  func valuePanel(_ index: Int) -> UnsafePointer<Float> {
    unsafe UnsafePointer(values.unsafeBaseAddress) + index * TileSizes.panelWidth * count
  }

  /// Loads the keys `first ..< first + count` of a head.
  ///
  /// - Parameter first: a multiple of ``PackedPanel/width``, so that the tile starts with a panel.
  mutating func load(_ head: PackedHead, first: Int, count: Int) {
    self.count = count
    switch unsafe head.elementType {
    case .f32: unsafe load(Float.self, head, first: first)
    case .f16: unsafe load(Float16.self, head, first: first)
    case .bf16: unsafe load(BFloat16.self, head, first: first)
    case .int8: unsafe load(Int8.self, head, first: first)
    }
  }

  @inline(__always)
  private func load<Element: PackedElement>(
    _ type: Element.Type, _ head: PackedHead, first: Int
  ) {
    let (packed, width) = (PackedPanel.width, TileSizes.panelWidth)
    let keyScales = unsafe head.keyScales(from: first)
    let keySource =
      unsafe UnsafePointer(head.keys.assumingMemoryBound(to: Element.self)) + first * headDim
    for key in stride(from: 0, to: count, by: packed) {
      let source = unsafe keySource + key * headDim
      let target = unsafe keys.unsafeBaseAddress + key / width * width * headDim + key % width
      if key + packed <= count {
        let scales = unsafe PanelScales<Element>(loading: keyScales, at: key)
        for row in 0..<headDim {
          unsafe widen(source + row * packed, to: target + row * width, by: scales)
        }
      } else {
        unsafe spread(source, width: count - key, to: target, rows: headDim) { _, column in
          unsafe Element.scale(keyScales, at: key + column)
        }
      }
    }
    unsafe clearEnd(
      keys.unsafeBaseAddress, columns: count, rows: headDim)

    let valueScales = unsafe head.valueScales(from: first)
    let valueSource = unsafe UnsafePointer(head.values.assumingMemoryBound(to: Element.self))
    for column in stride(from: 0, to: valueHeadDim, by: packed) {
      let columns = min(packed, valueHeadDim - column)
      let source = unsafe valueSource + column * head.count + first * columns
      let target =
        unsafe values.unsafeBaseAddress + column / width * width * count + column % width
      if columns == packed {
        for key in 0..<count {
          let scale = unsafe PanelScales<Element>(repeating: Element.scale(valueScales, at: key))
          unsafe widen(source + key * packed, to: target + key * width, by: scale)
        }
      } else {
        unsafe spread(source, width: columns, to: target, rows: count) { key, _ in
          unsafe Element.scale(valueScales, at: key)
        }
      }
    }
    unsafe clearEnd(values.unsafeBaseAddress, columns: valueHeadDim, rows: count)
  }

  /// Fills up the last panel of W with zeros where packed panels do not reach.
  @unsafe @inline(__always)
  private func clearEnd(_ panels: UnsafeMutablePointer<Float>, columns: Int, rows: Int) {
    let (packed, width) = (PackedPanel.width, TileSizes.panelWidth)
    let end = (columns + packed - 1) / packed * packed
    for column in stride(from: end, to: roundedUp(columns), by: Vector.width) {
      let target = unsafe panels + column / width * width * rows + column % width
      for row in 0..<rows { unsafe Vector().store(to: target, at: row * width) }
    }
  }
}

/// What the numbers of a row of a packed panel are multiples of.
private struct PanelScales<Element: PackedElement> {
  let left: Vector
  /// Of the second vector, where a panel is two.
  let right: Vector

  @inline(__always)
  init(repeating scale: Float) {
    left = Vector(repeating: scale)
    right = left
  }

  @unsafe @inline(__always)
  init(loading scales: UnsafeRawPointer, at index: Int) {
    unsafe left = Element.scales(scales, at: index)
    right =
      PackedPanel.width > Vector.width
      ? unsafe Element.scales(scales, at: index + Vector.width) : left
  }
}

/// Widens one row of a packed panel.
@unsafe @inline(__always)
private func widen<Element: PackedElement>(
  _ source: UnsafePointer<Element>, to target: UnsafeMutablePointer<Float>,
  by scales: PanelScales<Element>
) {
  unsafe Element.load(source, by: scales.left).store(to: target, at: 0)
  if PackedPanel.width > Vector.width {
    unsafe Element.load(source + Vector.width, by: scales.right)
      .store(to: target, at: Vector.width)
  }
}

/// Widens `rows` rows of `width` elements to rows of a packed panel, filling up with zeros.
@unsafe @inline(__always)
private func spread<Element: PackedElement>(
  _ source: UnsafePointer<Element>, width: Int, to target: UnsafeMutablePointer<Float>, rows: Int,
  scale: (_ row: Int, _ column: Int) -> Float
) {
  for row in 0..<rows {
    for column in 0..<PackedPanel.width {
      unsafe target[row * TileSizes.panelWidth + column] =
        column < width ? source[row * width + column].widened * scale(row, column) : 0
    }
  }
}
