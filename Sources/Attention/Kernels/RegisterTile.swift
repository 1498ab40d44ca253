/// Six rows by two vectors of a product, held in twelve vector registers.
///
/// Its width `W` is that of a panel, ``TileSizes/panelWidth``.
///
/// Both matrix products of attention are this one micro-kernel: scores are rows of queries times a
/// panel of keys, outputs are rows of weights times a panel of values. Each step loads one row of a
/// panel, broadcasts one element of each of six rows, and makes twelve multiply–adds.
struct RegisterTile {
  private var a0 = Vector(), a1 = Vector()
  private var b0 = Vector(), b1 = Vector()
  private var c0 = Vector(), c1 = Vector()
  private var d0 = Vector(), d1 = Vector()
  private var e0 = Vector(), e1 = Vector()
  private var f0 = Vector(), f1 = Vector()

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
    rows: UnsafePointer<Float>, rowStride: Int, stepStride: Int,
    panel: UnsafePointer<Float>, steps: Int
  ) {
    var row = unsafe rows
    var column = unsafe panel
    for _ in 0..<steps {
      let left = unsafe Vector(loading: column, at: 0)
      let right = unsafe Vector(loading: column, at: Vector.width)
      var factor = unsafe Vector(repeating: row[0])
      a0.addProduct(factor, left)
      a1.addProduct(factor, right)
      unsafe factor = Vector(repeating: row[rowStride])
      b0.addProduct(factor, left)
      b1.addProduct(factor, right)
      unsafe factor = Vector(repeating: row[2 * rowStride])
      c0.addProduct(factor, left)
      c1.addProduct(factor, right)
      unsafe factor = Vector(repeating: row[3 * rowStride])
      d0.addProduct(factor, left)
      d1.addProduct(factor, right)
      unsafe factor = Vector(repeating: row[4 * rowStride])
      e0.addProduct(factor, left)
      e1.addProduct(factor, right)
      unsafe factor = Vector(repeating: row[5 * rowStride])
      f0.addProduct(factor, left)
      f1.addProduct(factor, right)
      unsafe row += stepStride
      unsafe column += TileSizes.panelWidth
    }
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
