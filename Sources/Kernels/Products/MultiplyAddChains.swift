/// Multiply–adds and nothing else.
enum MultiplyAddChains {
  /// Measures their rate for some milliseconds.
  ///
  /// Twelve independent chains of vector multiply–adds keep both units busy on any processor with
  /// a latency of up to six cycles.
  static func flopsPerSecond() -> Double {
    let steps = 1_000_000
    var sum = Vector()
    let duration = ContinuousClock().measure { sum = chains(steps) }
    // The sum is looked at, so that the chains cannot be left out.
    precondition(sum[0] == sum[0], "multiply–adds of finite numbers")
    return Double(steps * 12 * Vector.width * 2) / (duration / .seconds(1))
  }

  @inline(never)
  private static func chains(_ steps: Int) -> Vector {
    var (a, b, c, d, e, f) = (Vector(), Vector(), Vector(), Vector(), Vector(), Vector())
    var (g, h, i, j, k, l) = (Vector(), Vector(), Vector(), Vector(), Vector(), Vector())
    let x = Vector(repeating: 1e-3)
    let y = Vector(repeating: 0.999)
    for _ in 0..<steps {
      a.addProduct(x, y)
      b.addProduct(x, y)
      c.addProduct(x, y)
      d.addProduct(x, y)
      e.addProduct(x, y)
      f.addProduct(x, y)
      g.addProduct(x, y)
      h.addProduct(x, y)
      i.addProduct(x, y)
      j.addProduct(x, y)
      k.addProduct(x, y)
      l.addProduct(x, y)
    }
    return (a + b + c) + (d + e + f) + (g + h + i) + (j + k + l)
  }
}
