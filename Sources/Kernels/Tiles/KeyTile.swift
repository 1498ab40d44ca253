import AttentionTypes
import Tensors

/// Up to ``Factor/keys`` keys and values as panels of factors, W =
/// ``TileSizes/panelWidth`` wide throughout.
///
/// Loading a tile makes factors of its elements, puts packed panels side by side where W is more
/// than one of them, and fills narrow ones up with zeros, once for all the rows that pass over it.
/// Panels of `Float` are copied too: read in place they lie megabytes apart, and the kernel then
/// waits for the last-level cache and the page tables (measured at head dim 128: 76 % of the
/// multiply–add peak in place, 84 % copied). A few rows are another matter: see ``FewRowsTile``.
struct KeyTile<Element: Factor>: ~Copyable {
  /// Keys in the tile.
  private(set) var count = 0
  private let headDim: Int
  private let valueHeadDim: Int
  /// `[panels of W keys][keySteps][W]`.
  private let keys: AlignedBuffer<Element>
  /// `[panels of W columns][valueSteps][W]`.
  private let values: AlignedBuffer<Element>

  /// Creates an empty tile with room for ``Factor/keys`` keys.
  init(shape: AttentionShape) {
    headDim = shape.headDim
    valueHeadDim = shape.valueHeadDim
    keys = AlignedBuffer(
      repeating: .zero, count: Element.keys * Element.steps(of: shape.headDim))
    values = AlignedBuffer(
      repeating: .zero, count: Element.steps(of: Element.keys) * roundedUp(shape.valueHeadDim))
  }

  /// Panels of W keys.
  var panelCount: Int { (count + TileSizes.panelWidth - 1) / TileSizes.panelWidth }

  /// Steps of a product of queries and keys.
  var keySteps: Int { Element.steps(of: headDim) }

  /// Steps of a product of weights and values.
  var valueSteps: Int { Element.steps(of: count) }

  /// Panel `index` of the keys, `[keySteps][W]`.
  @unsafe @inline(__always)
  func keyPanel(_ index: Int) -> UnsafePointer<Element> {
    unsafe UnsafePointer(keys.unsafeBaseAddress) + index * TileSizes.panelWidth * keySteps
  }

  /// Panel `index` of the values, `[valueSteps][W]`.
  @unsafe @inline(__always)
  func valuePanel(_ index: Int) -> UnsafePointer<Element> {
    unsafe UnsafePointer(values.unsafeBaseAddress) + index * TileSizes.panelWidth * valueSteps
  }

  /// Loads the keys `first ..< first + count` of a head.
  ///
  /// - Parameter first: a multiple of ``PackedPanel/width``, so that the tile starts with a
  ///   panel.
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
  private func load<Packed: PackedElement>(
    _ type: Packed.Type, _ head: PackedHead, first: Int
  ) {
    let (packed, width) = (PackedPanel.width, TileSizes.panelWidth)
    let keyScales = unsafe head.keyScales(from: first)
    let keySource =
      unsafe UnsafePointer(head.keys.assumingMemoryBound(to: Packed.self)) + first * headDim
    for key in stride(from: 0, to: count, by: packed) {
      let source = unsafe keySource + key * headDim
      let target =
        unsafe keys.unsafeBaseAddress + key / width * width * keySteps + key % width
      // Of a page that is not full the last panel is as wide as others.
      if unsafe first + key + packed <= head.count {
        let scales = unsafe PanelScales<Packed>(loading: keyScales, at: key)
        unsafe makeFactors(of: source, rows: headDim, in: target) { _ in scales }
      } else {
        // As wide as it is packed, even if the tile ends before.
        let wide = unsafe head.count - first - key
        unsafe spread(source, width: wide, to: target, rows: headDim) { _, column in
          unsafe Packed.scale(keyScales, at: key + column)
        }
      }
    }
    unsafe clearEnd(keys.unsafeBaseAddress, columns: count, steps: keySteps)

    let valueScales = unsafe head.valueScales(from: first)
    let valueSource = unsafe UnsafePointer(head.values.assumingMemoryBound(to: Packed.self))
    for column in stride(from: 0, to: valueHeadDim, by: packed) {
      let columns = min(packed, valueHeadDim - column)
      let source = unsafe valueSource + column * head.count + first * columns
      let target =
        unsafe values.unsafeBaseAddress + column / width * width * valueSteps + column % width
      if columns == packed {
        unsafe makeFactors(of: source, rows: count, in: target) { key in
          unsafe PanelScales<Packed>(repeating: Packed.scale(valueScales, at: key))
        }
      } else {
        unsafe spread(source, width: columns, to: target, rows: count) { key, _ in
          unsafe Packed.scale(valueScales, at: key)
        }
      }
    }
    unsafe clearEnd(values.unsafeBaseAddress, columns: valueHeadDim, steps: valueSteps)
  }

  /// Makes factors of the rows of a packed panel.
  @unsafe @inline(__always)
  private func makeFactors<Packed: PackedElement>(
    of source: UnsafePointer<Packed>, rows: Int, in target: UnsafeMutablePointer<Element>,
    scales: (_ row: Int) -> PanelScales<Packed>
  ) {
    let (packed, depth) = (PackedPanel.width, Element.depth)
    func makeFactor(row: Int, count: Int) {
      let source = unsafe source + row * packed
      let target = unsafe target + row / depth * TileSizes.panelWidth
      let left = unsafe Element.lanes(of: source, stride: packed, count: count) {
        scales(row + $0).left
      }
      unsafe Element.store(left, to: target, at: 0)
      if packed > Vector.width {
        let right = unsafe Element.lanes(
          of: source + Vector.width, stride: packed, count: count
        ) { scales(row + $0).right }
        unsafe Element.store(right, to: target, at: Vector.width)
      }
    }
    let whole = rows / depth * depth
    for row in stride(from: 0, to: whole, by: depth) { makeFactor(row: row, count: depth) }
    if whole < rows { makeFactor(row: whole, count: rows - whole) }
    unsafe clearSteps(past: rows, in: target)
  }

  /// Fills up the last run of a packed panel with zeros.
  @unsafe @inline(__always)
  private func clearSteps(past rows: Int, in target: UnsafeMutablePointer<Element>) {
    let made = (rows + Element.depth - 1) / Element.depth
    for step in made..<Element.steps(of: rows) {
      unsafe (target + step * TileSizes.panelWidth)
        .update(repeating: .zero, count: PackedPanel.width)
    }
  }

  /// Fills up the last panel of W with zeros where packed panels do not reach.
  @unsafe @inline(__always)
  private func clearEnd(_ panels: UnsafeMutablePointer<Element>, columns: Int, steps: Int) {
    let (packed, width) = (PackedPanel.width, TileSizes.panelWidth)
    let end = (columns + packed - 1) / packed * packed
    for column in stride(from: end, to: roundedUp(columns), by: packed) {
      let target = unsafe panels + column / width * width * steps + column % width
      for step in 0..<steps {
        unsafe (target + step * width).update(repeating: .zero, count: packed)
      }
    }
  }

  /// Makes factors of `rows` rows of `width` elements, filling packed panels up with zeros.
  @unsafe @inline(__always)
  private func spread<Packed: PackedElement>(
    _ source: UnsafePointer<Packed>, width: Int, to target: UnsafeMutablePointer<Element>,
    rows: Int, scale: (_ row: Int, _ column: Int) -> Float
  ) {
    for row in stride(from: 0, to: rows, by: Element.depth) {
      let place = unsafe target + row / Element.depth * TileSizes.panelWidth
      for column in 0..<PackedPanel.width {
        unsafe place[column] =
          column < width
          ? Element.factor(
            of: source + row * width + column, stride: width,
            count: min(Element.depth, rows - row)
          ) { scale(row + $0, column) } : .zero
      }
    }
    unsafe clearSteps(past: rows, in: target)
  }
}

/// What the numbers of a row of a packed panel are multiples of.
private struct PanelScales<Packed: PackedElement> {
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
    unsafe left = Packed.scales(scales, at: index)
    right =
      PackedPanel.width > Vector.width
      ? unsafe Packed.scales(scales, at: index + Vector.width) : left
  }
}
