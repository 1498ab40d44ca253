/// Six rows by two vectors of a product, held in twelve vector registers.
///
/// Its width `W` is that of a panel: two vectors, ``width``.
///
/// Every dense product of vectors is this one micro-kernel: rows of activations times a panel of
/// weights, rows of queries times a panel of keys, rows of weights times a panel of values. Each
/// step loads one row of a panel, broadcasts one element of each of six rows, and makes twelve
/// multiply–adds.
///
/// Cost: `12 · Vector.width · 2` floating-point operations a step, and as many times more as a
/// factor has numbers, near the peak of a core where the panel lies in its first-level cache.
struct FactorTile<Element: Factor> {
  var a0 = Vector(), a1 = Vector()
  var b0 = Vector(), b1 = Vector()
  var c0 = Vector(), c1 = Vector()
  var d0 = Vector(), d1 = Vector()
  var e0 = Vector(), e1 = Vector()
  var f0 = Vector(), f1 = Vector()

  /// Rows of a tile.
  @inline(__always) static var height: Int { 6 }
  /// Columns of a tile, and of a panel.
  @inline(__always) static var width: Int { 2 * Vector.width }

  /// A tile of zeros.
  @inline(__always)
  init() {}

  /// Adds `Σ_s rows[r, s] · panel[s, :]` to row `r`, over `steps` steps `s`.
  ///
  /// - Parameters:
  ///   - rows: element `(r, s)` lies at `r · rowStride + s · stepStride`. One of the strides should
  ///     be a constant at the call, so that all six addresses are one register and a displacement.
  ///   - panel: `[steps, W]`.
  @unsafe @inline(__always)
  mutating func accumulate(
    rows: UnsafePointer<Element>, rowStride: Int, stepStride: Int,
    panel: UnsafePointer<Element>, steps: Int
  ) {
    guard steps > 0 else { return }
    let before = Element.beginProducts()
    var row = unsafe rows
    var column = unsafe panel
    // A place to end at, not a count, of which the compiler makes one jump a step in any module.
    let end = unsafe panel + steps * Self.width
    repeat {
      let first = unsafe Element.load(column, at: 0)
      let second = unsafe Element.load(column, at: Vector.width)
      var factor = unsafe Element.lanes(repeating: row[0])
      Element.addProducts(of: factor, first, to: &a0)
      Element.addProducts(of: factor, second, to: &a1)
      unsafe factor = Element.lanes(repeating: row[rowStride])
      Element.addProducts(of: factor, first, to: &b0)
      Element.addProducts(of: factor, second, to: &b1)
      unsafe factor = Element.lanes(repeating: row[2 * rowStride])
      Element.addProducts(of: factor, first, to: &c0)
      Element.addProducts(of: factor, second, to: &c1)
      unsafe factor = Element.lanes(repeating: row[3 * rowStride])
      Element.addProducts(of: factor, first, to: &d0)
      Element.addProducts(of: factor, second, to: &d1)
      unsafe factor = Element.lanes(repeating: row[4 * rowStride])
      Element.addProducts(of: factor, first, to: &e0)
      Element.addProducts(of: factor, second, to: &e1)
      unsafe factor = Element.lanes(repeating: row[5 * rowStride])
      Element.addProducts(of: factor, first, to: &f0)
      Element.addProducts(of: factor, second, to: &f1)
      unsafe row += stepStride
      unsafe column += Self.width
    } while unsafe column != end
    Element.endProducts(before)
  }

  /// Stores the tile with its rows `stride` floats apart.
  @unsafe @inline(__always)
  func store(to rows: UnsafeMutablePointer<Float>, stride: Int) {
    unsafe a0.store(to: rows, at: 0)
    unsafe a1.store(to: rows, at: Vector.width)
    unsafe b0.store(to: rows, at: stride)
    unsafe b1.store(to: rows, at: stride + Vector.width)
    unsafe c0.store(to: rows, at: 2 * stride)
    unsafe c1.store(to: rows, at: 2 * stride + Vector.width)
    unsafe d0.store(to: rows, at: 3 * stride)
    unsafe d1.store(to: rows, at: 3 * stride + Vector.width)
    unsafe e0.store(to: rows, at: 4 * stride)
    unsafe e1.store(to: rows, at: 4 * stride + Vector.width)
    unsafe f0.store(to: rows, at: 5 * stride)
    unsafe f1.store(to: rows, at: 5 * stride + Vector.width)
  }

  /// Multiplies the tile.
  @inline(__always)
  mutating func multiply(by factor: Float) {
    a0 *= factor
    a1 *= factor
    b0 *= factor
    b1 *= factor
    c0 *= factor
    c1 *= factor
    d0 *= factor
    d1 *= factor
    e0 *= factor
    e1 *= factor
    f0 *= factor
    f1 *= factor
  }

  /// Adds the tile to memory with its rows `stride` floats apart.
  @unsafe @inline(__always)
  func add(to rows: UnsafeMutablePointer<Float>, stride: Int) {
    unsafe a0.add(to: rows, at: 0)
    unsafe a1.add(to: rows, at: Vector.width)
    unsafe b0.add(to: rows, at: stride)
    unsafe b1.add(to: rows, at: stride + Vector.width)
    unsafe c0.add(to: rows, at: 2 * stride)
    unsafe c1.add(to: rows, at: 2 * stride + Vector.width)
    unsafe d0.add(to: rows, at: 3 * stride)
    unsafe d1.add(to: rows, at: 3 * stride + Vector.width)
    unsafe e0.add(to: rows, at: 4 * stride)
    unsafe e1.add(to: rows, at: 4 * stride + Vector.width)
    unsafe f0.add(to: rows, at: 5 * stride)
    unsafe f1.add(to: rows, at: 5 * stride + Vector.width)
  }
}

extension Factor {
  @inline(__always) static var groupRows: Int { FactorTile<Self>.height }

  /// By a ``FactorTile``.
  @unsafe @inline(__always)
  static func multiply(
    rows: UnsafePointer<Self>, rowStride: Int, runStride: Int, panel: UnsafePointer<Self>,
    steps: Int, scale: Float?, to target: UnsafeMutablePointer<Float>, stride: Int, adding: Bool
  ) {
    var product = FactorTile<Self>()
    unsafe product.accumulate(
      rows: rows, rowStride: rowStride, stepStride: runStride, panel: panel, steps: steps)
    if let scale { product.multiply(by: scale) }
    if adding {
      unsafe product.add(to: target, stride: stride)
    } else {
      unsafe product.store(to: target, stride: stride)
    }
  }
}

/// The tile of products of `Float`.
typealias RegisterTile = FactorTile<Float>
