import Compute
/// One row by four panels of a product, held in eight vector registers: what ``RegisterTile`` is
/// for six rows, for panels that are read where they lie and widened on the way.
///
/// Eight independent chains hide most of the latency of a multiply–add, and four streams keep more
/// lines in flight than one. Every lane adds up its products in the order in which a
/// ``RegisterTile`` does, so that a row has the same bits whichever of them computes it.
struct RowStrip {
  /// How many panels a strip is wide.
  @inline(__always) static var panels: Int { 4 }

  private var a0 = Vector(), a1 = Vector()
  private var b0 = Vector(), b1 = Vector()
  private var c0 = Vector(), c1 = Vector()
  private var d0 = Vector(), d1 = Vector()

  /// A strip of zeros.
  @inline(__always)
  init() {}

  /// Adds `Σ_s row[s] · panel[s, :]` for each panel, over `steps` steps `s`.
  ///
  /// - Parameters:
  ///   - row: element `s` lies at `s · stride`.
  ///   - panels: panel `p` begins at `p · distance`, `[steps, W]`.
  ///   - count: four, or one: then only the first panel is read.
  ///   - scale: what the left (0) or right (1) half of a panel is a multiple of at a step.
  @unsafe @inline(__always)
  mutating func accumulate<Element: PackedElement>(
    row: UnsafePointer<Float>, stride: Int, panels: UnsafePointer<Element>, count: Int,
    distance: Int, steps: Int, scale: (_ panel: Int, _ half: Int, _ step: Int) -> Vector
  ) {
    let width = Vector.width
    var a = unsafe panels
    guard count > 1 else {
      for step in 0..<steps {
        let factor = unsafe Vector(repeating: row[step * stride])
        unsafe a0.addProduct(factor, Element.load(a, by: scale(0, 0, step)))
        unsafe a1.addProduct(factor, Element.load(a + width, by: scale(0, 1, step)))
        unsafe a += TileSizes.panelWidth
      }
      return
    }
    var b = unsafe panels + distance
    var c = unsafe panels + 2 * distance
    var d = unsafe panels + 3 * distance
    for step in 0..<steps {
      let factor = unsafe Vector(repeating: row[step * stride])
      unsafe a0.addProduct(factor, Element.load(a, by: scale(0, 0, step)))
      unsafe a1.addProduct(factor, Element.load(a + width, by: scale(0, 1, step)))
      unsafe b0.addProduct(factor, Element.load(b, by: scale(1, 0, step)))
      unsafe b1.addProduct(factor, Element.load(b + width, by: scale(1, 1, step)))
      unsafe c0.addProduct(factor, Element.load(c, by: scale(2, 0, step)))
      unsafe c1.addProduct(factor, Element.load(c + width, by: scale(2, 1, step)))
      unsafe d0.addProduct(factor, Element.load(d, by: scale(3, 0, step)))
      unsafe d1.addProduct(factor, Element.load(d + width, by: scale(3, 1, step)))
      unsafe a += TileSizes.panelWidth
      unsafe b += TileSizes.panelWidth
      unsafe c += TileSizes.panelWidth
      unsafe d += TileSizes.panelWidth
    }
  }

  /// Stores the first `count` panels, `distance` floats apart.
  @unsafe @inline(__always)
  func store(_ count: Int, to target: UnsafeMutablePointer<Float>, distance: Int) {
    unsafe forEach(count, target, distance) { unsafe $0.store(to: $1, at: 0) }
  }

  /// Adds the first `count` panels to memory, `distance` floats apart.
  @unsafe @inline(__always)
  func add(_ count: Int, to target: UnsafeMutablePointer<Float>, distance: Int) {
    unsafe forEach(count, target, distance) { unsafe $0.add(to: $1, at: 0) }
  }

  @unsafe @inline(__always)
  private func forEach(
    _ count: Int, _ target: UnsafeMutablePointer<Float>, _ distance: Int,
    _ body: (Vector, UnsafeMutablePointer<Float>) -> Void
  ) {
    unsafe body(a0, target)
    unsafe body(a1, target + Vector.width)
    guard count > 1 else { return }
    unsafe body(b0, target + distance)
    unsafe body(b1, target + distance + Vector.width)
    unsafe body(c0, target + 2 * distance)
    unsafe body(c1, target + 2 * distance + Vector.width)
    unsafe body(d0, target + 3 * distance)
    unsafe body(d1, target + 3 * distance + Vector.width)
  }
}
