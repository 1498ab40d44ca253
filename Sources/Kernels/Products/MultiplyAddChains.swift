/// Multiply–adds and nothing else.
enum MultiplyAddChains {
  /// Measures their rate for some milliseconds.
  ///
  /// Twelve independent chains of vector multiply–adds keep both units busy on any processor with
  /// a latency of up to six cycles.
  static func flopsPerSecond<Element: Factor>(_ x: Element, _ y: Element) -> Double {
    let steps = 1_000_000
    var sum = Vector()
    let duration = ContinuousClock().measure { sum = chains(steps, x, y) }
    // The sum is looked at, so that the chains cannot be left out.
    precondition(sum[0] == sum[0], "multiply–adds of finite numbers")
    return Double(steps * 12 * Vector.width * 2 * Element.depth) / (duration / .seconds(1))
  }

  @inline(never)
  private static func chains<Element: Factor>(
    _ steps: Int, _ x: Element, _ y: Element
  ) -> Vector {
    var (a, b, c, d, e, f) = (Vector(), Vector(), Vector(), Vector(), Vector(), Vector())
    var (g, h, i, j, k, l) = (Vector(), Vector(), Vector(), Vector(), Vector(), Vector())
    let x = Element.lanes(repeating: x)
    let y = Element.lanes(repeating: y)
    for _ in 0..<steps {
      Element.addProducts(of: x, y, to: &a)
      Element.addProducts(of: x, y, to: &b)
      Element.addProducts(of: x, y, to: &c)
      Element.addProducts(of: x, y, to: &d)
      Element.addProducts(of: x, y, to: &e)
      Element.addProducts(of: x, y, to: &f)
      Element.addProducts(of: x, y, to: &g)
      Element.addProducts(of: x, y, to: &h)
      Element.addProducts(of: x, y, to: &i)
      Element.addProducts(of: x, y, to: &j)
      Element.addProducts(of: x, y, to: &k)
      Element.addProducts(of: x, y, to: &l)
    }
    return (a + b + c) + (d + e + f) + (g + h + i) + (j + k + l)
  }
}
