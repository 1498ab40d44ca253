import Tensors

/// One head's packed keys and values in one run of a block.
@unsafe
struct PackedHead {
  let keys: UnsafeRawPointer
  let values: UnsafeRawPointer
  let elementType: ElementType
  /// Keys in the run.
  let count: Int
}

/// Up to ``TileSizes/keys`` keys and values as panels of floats, W =
/// ``TileSizes/panelWidth`` wide throughout.
///
/// Loading a tile widens its elements and fills narrow panels up with zeros, once for all the rows
/// that pass over it. Panels of `Float` are copied too: read in place they lie megabytes apart, and
/// the kernel then waits for the last-level cache and the page tables (measured at head dim 128:
/// 76 % of the multiply–add peak in place, 84 % copied).
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
    }
  }

  @inline(__always)
  private func load<Element: PackedElement>(
    _ type: Element.Type, _ head: PackedHead, first: Int
  ) {
    let width = TileSizes.panelWidth
    let wideKeys = count / width * width
    let keySource = unsafe head.keys.assumingMemoryBound(to: Element.self) + first * headDim
    let keyTarget = unsafe keys.unsafeBaseAddress
    unsafe widen(keySource, to: keyTarget, count: wideKeys * headDim)
    if wideKeys < count {
      unsafe spread(
        keySource + wideKeys * headDim, width: count - wideKeys,
        to: keyTarget + wideKeys * headDim, rows: headDim)
    }

    let valueSource = unsafe head.values.assumingMemoryBound(to: Element.self)
    let wideColumns = valueHeadDim / width * width
    for column in stride(from: 0, to: wideColumns, by: width) {
      unsafe widen(
        valueSource + column * head.count + first * width,
        to: values.unsafeBaseAddress + column * count, count: count * width)
    }
    if wideColumns < valueHeadDim {
      let columns = valueHeadDim - wideColumns
      unsafe spread(
        valueSource + wideColumns * head.count + first * columns, width: columns,
        to: values.unsafeBaseAddress + wideColumns * count, rows: count)
    }
  }
}

/// Widens `count` consecutive elements.
@unsafe @inline(__always)
private func widen<Element: PackedElement>(
  _ source: UnsafePointer<Element>, to target: UnsafeMutablePointer<Float>, count: Int
) {
  var index = 0
  while index + Vector.width <= count {
    unsafe Element.load(source + index).store(to: target, at: index)
    index += Vector.width
  }
  while index < count {
    unsafe target[index] = source[index].widened
    index += 1
  }
}

/// Widens `rows` rows of `width` elements to rows of W, filling up with zeros.
@unsafe @inline(__always)
private func spread<Element: PackedElement>(
  _ source: UnsafePointer<Element>, width: Int, to target: UnsafeMutablePointer<Float>, rows: Int
) {
  for row in 0..<rows {
    for column in 0..<TileSizes.panelWidth {
      unsafe target[row * TileSizes.panelWidth + column] =
        column < width ? source[row * width + column].widened : 0
    }
  }
}
