import Compute
import Tensors

/// Up to ``TileSizes/keys`` keys and values as panels of floats, W =
/// ``TileSizes/panelWidth`` wide throughout.
///
/// Loading a tile widens its elements and fills narrow panels up with zeros, once for all the rows
/// that pass over it. Panels of `Float` are copied too: read in place they lie megabytes apart, and
/// the kernel then waits for the last-level cache and the page tables (measured at head dim 128:
/// 76 % of the multiply–add peak in place, 84 % copied). A few rows are another matter: see
/// ``ForwardTile/mostFewRows``.
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
  /// - Parameter first: a multiple of W, so that the tile starts with a panel.
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
    let width = TileSizes.panelWidth
    let keyScales = unsafe head.keyScales(from: first)
    let wideKeys = count / width * width
    let keySource =
      unsafe UnsafePointer(head.keys.assumingMemoryBound(to: Element.self)) + first * headDim
    let keyTarget = unsafe keys.unsafeBaseAddress
    for key in stride(from: 0, to: wideKeys, by: width) {
      let left = unsafe Element.scales(keyScales, at: key)
      let right = unsafe Element.scales(keyScales, at: key + Vector.width)
      for row in key * headDim / width..<(key + width) * headDim / width {
        unsafe widen(keySource + row * width, to: keyTarget + row * width, by: left, right)
      }
    }
    if wideKeys < count {
      unsafe spread(
        keySource + wideKeys * headDim, width: count - wideKeys,
        to: keyTarget + wideKeys * headDim, rows: headDim
      ) { _, key in unsafe Element.scale(keyScales, at: wideKeys + key) }
    }

    let valueScales = unsafe head.valueScales(from: first)
    let valueSource = unsafe UnsafePointer(head.values.assumingMemoryBound(to: Element.self))
    let wideColumns = valueHeadDim / width * width
    for column in stride(from: 0, to: wideColumns, by: width) {
      let source = unsafe valueSource + column * head.count + first * width
      let target = unsafe values.unsafeBaseAddress + column * count
      for key in 0..<count {
        let scale = unsafe Vector(repeating: Element.scale(valueScales, at: key))
        unsafe widen(source + key * width, to: target + key * width, by: scale, scale)
      }
    }
    if wideColumns < valueHeadDim {
      let columns = valueHeadDim - wideColumns
      unsafe spread(
        valueSource + wideColumns * head.count + first * columns, width: columns,
        to: values.unsafeBaseAddress + wideColumns * count, rows: count
      ) { key, _ in unsafe Element.scale(valueScales, at: key) }
    }
  }
}

/// Widens one row of a panel.
@unsafe @inline(__always)
private func widen<Element: PackedElement>(
  _ source: UnsafePointer<Element>, to target: UnsafeMutablePointer<Float>, by left: Vector,
  _ right: Vector
) {
  unsafe Element.load(source, by: left).store(to: target, at: 0)
  unsafe Element.load(source + Vector.width, by: right).store(to: target, at: Vector.width)
}

/// Widens `rows` rows of `width` elements to rows of W, filling up with zeros.
@unsafe @inline(__always)
func spread<Element: PackedElement>(
  _ source: UnsafePointer<Element>, width: Int, to target: UnsafeMutablePointer<Float>, rows: Int,
  scale: (_ row: Int, _ column: Int) -> Float
) {
  for row in 0..<rows {
    for column in 0..<TileSizes.panelWidth {
      unsafe target[row * TileSizes.panelWidth + column] =
        column < width ? source[row * width + column].widened * scale(row, column) : 0
    }
  }
}
