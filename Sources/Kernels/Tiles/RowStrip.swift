import AttentionTypes

/// One row by four packed panels of a product, held in vector registers: what ``RegisterTile`` is
/// for six rows, for panels that are read where they lie and widened on the way.
///
/// A packed panel is two vectors of 8 lanes or one of 16. Independent chains hide most of the
/// latency of a multiply–add, and four streams keep more lines in flight than one. Every lane adds
/// up its products in the order in which a ``RegisterTile`` does, so that a row has the same bits
/// whichever of them computes it.
struct RowStrip {
  /// How many panels a strip is wide.
  @inline(__always) static var panels: Int { 4 }
  /// Whether a packed panel is two vectors.
  @inline(__always) private static var isSplit: Bool { PackedPanel.width > Vector.width }

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
  ///   - scale: what the left (0) or right (1) vector of a panel is a multiple of at a step.
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
        if Self.isSplit {
          unsafe a1.addProduct(factor, Element.load(a + width, by: scale(0, 1, step)))
        }
        unsafe a += PackedPanel.width
      }
      return
    }
    var b = unsafe panels + distance
    var c = unsafe panels + 2 * distance
    var d = unsafe panels + 3 * distance
    for step in 0..<steps {
      let factor = unsafe Vector(repeating: row[step * stride])
      unsafe a0.addProduct(factor, Element.load(a, by: scale(0, 0, step)))
      unsafe b0.addProduct(factor, Element.load(b, by: scale(1, 0, step)))
      unsafe c0.addProduct(factor, Element.load(c, by: scale(2, 0, step)))
      unsafe d0.addProduct(factor, Element.load(d, by: scale(3, 0, step)))
      if Self.isSplit {
        unsafe a1.addProduct(factor, Element.load(a + width, by: scale(0, 1, step)))
        unsafe b1.addProduct(factor, Element.load(b + width, by: scale(1, 1, step)))
        unsafe c1.addProduct(factor, Element.load(c + width, by: scale(2, 1, step)))
        unsafe d1.addProduct(factor, Element.load(d + width, by: scale(3, 1, step)))
      }
      unsafe a += PackedPanel.width
      unsafe b += PackedPanel.width
      unsafe c += PackedPanel.width
      unsafe d += PackedPanel.width
    }
  }

  /// Stores the first `count` panels.
  ///
  /// - Parameter target: where a panel goes.
  @unsafe @inline(__always)
  func store(_ count: Int, to target: (_ panel: Int) -> UnsafeMutablePointer<Float>) {
    unsafe forEach(count, target) { unsafe $0.store(to: $1, at: 0) }
  }

  /// Adds the first `count` panels to memory.
  ///
  /// - Parameter target: where a panel goes.
  @unsafe @inline(__always)
  func add(_ count: Int, to target: (_ panel: Int) -> UnsafeMutablePointer<Float>) {
    unsafe forEach(count, target) { unsafe $0.add(to: $1, at: 0) }
  }

  @unsafe @inline(__always)
  private func forEach(
    _ count: Int, _ target: (_ panel: Int) -> UnsafeMutablePointer<Float>,
    _ body: (Vector, UnsafeMutablePointer<Float>) -> Void
  ) {
    unsafe body(a0, target(0))
    if Self.isSplit { unsafe body(a1, target(0) + Vector.width) }
    guard count > 1 else { return }
    unsafe body(b0, target(1))
    unsafe body(c0, target(2))
    unsafe body(d0, target(3))
    if Self.isSplit {
      unsafe body(b1, target(1) + Vector.width)
      unsafe body(c1, target(2) + Vector.width)
      unsafe body(d1, target(3) + Vector.width)
    }
  }
}
