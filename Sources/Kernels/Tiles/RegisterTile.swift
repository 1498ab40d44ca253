/// Six rows by two vectors of a product, held in twelve vector registers.
///
/// Its width `W` is that of a panel: two vectors, ``width``.
///
/// Every dense product is this one micro-kernel: rows of activations times a panel of weights, rows
/// of queries times a panel of keys, rows of weights times a panel of values. Each step loads one
/// row of a panel, broadcasts one element of each of six rows, and makes twelve multiply–adds.
///
/// Cost: `12 · Vector.width · 2` floating-point operations a step, near the multiply–add peak of a
/// core where the panel lies in its first-level cache.
struct RegisterTile {
  private var a0 = Vector(), a1 = Vector()
  private var b0 = Vector(), b1 = Vector()
  private var c0 = Vector(), c1 = Vector()
  private var d0 = Vector(), d1 = Vector()
  private var e0 = Vector(), e1 = Vector()
  private var f0 = Vector(), f1 = Vector()

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
    rows: UnsafePointer<Float>, rowStride: Int, stepStride: Int,
    panel: UnsafePointer<Float>, steps: Int
  ) {
    guard steps > 0 else { return }
    var row = unsafe rows
    var column = unsafe panel
    // A place to end at, not a count, of which the compiler makes one jump a step in any module.
    let end = unsafe panel + steps * Self.width
    repeat {
      let first = unsafe Vector(loading: column, at: 0)
      let second = unsafe Vector(loading: column, at: Vector.width)
      var factor = unsafe Vector(repeating: row[0])
      a0.addProduct(factor, first)
      a1.addProduct(factor, second)
      unsafe factor = Vector(repeating: row[rowStride])
      b0.addProduct(factor, first)
      b1.addProduct(factor, second)
      unsafe factor = Vector(repeating: row[2 * rowStride])
      c0.addProduct(factor, first)
      c1.addProduct(factor, second)
      unsafe factor = Vector(repeating: row[3 * rowStride])
      d0.addProduct(factor, first)
      d1.addProduct(factor, second)
      unsafe factor = Vector(repeating: row[4 * rowStride])
      e0.addProduct(factor, first)
      e1.addProduct(factor, second)
      unsafe factor = Vector(repeating: row[5 * rowStride])
      f0.addProduct(factor, first)
      f1.addProduct(factor, second)
      unsafe row += stepStride
      unsafe column += Self.width
    } while unsafe column != end
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
