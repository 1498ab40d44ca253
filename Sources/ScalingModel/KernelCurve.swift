public import Attention
import Glibc

/// The speed of the kernel in flops a second of one thread, by how many tokens it works on at a
/// time.
///
/// Between measured points it is interpolated linearly in the logarithm of the tokens; below the
/// first a visit takes as long a token as there, and past the last the speed stays.
public struct KernelCurve: Hashable, Sendable {
  /// A measured speed.
  public struct Point: Hashable, Sendable {
    /// The side of a square of scores.
    public let tokens: Double
    /// Of one thread.
    public let flopsPerSecond: Double

    /// A speed at so many tokens.
    public init(tokens: Double, flopsPerSecond: Double) {
      self.tokens = tokens
      self.flopsPerSecond = flopsPerSecond
    }
  }

  private var curves: [Kind: [Point]] = [:]

  private struct Kind: Hashable {
    let pass: AttentionPass
    let isMasked: Bool
  }

  /// The same speed for everything.
  public init(flopsPerSecond: Double) {
    self.init()
    let point = Point(tokens: 1, flopsPerSecond: flopsPerSecond)
    for pass in [AttentionPass.forward, .backward] { setCurve([point], pass, isMasked: false) }
  }

  /// No speeds yet.
  public init() {}

  /// Whether a pass has been measured.
  public func covers(_ pass: AttentionPass) -> Bool {
    [true, false].contains { curves[Kind(pass: pass, isMasked: $0)] != nil }
  }

  /// Takes the points of a pass, in any order.
  ///
  /// - Parameter isMasked: whether half of the scores were hidden by the causal mask.
  public mutating func setCurve(_ points: [Point], _ pass: AttentionPass, isMasked: Bool) {
    curves[Kind(pass: pass, isMasked: isMasked)] = points.sorted { $0.tokens < $1.tokens }
  }

  /// Takes few points, of runs for example, and goes on beyond them as kernels usually do: at
  /// rate ∞ / (1 + h / tokens), with h = 100 where all scores are visible and 300 under a causal
  /// mask, which tiles on its edge compute in vain.
  ///
  /// - Parameters:
  ///   - points: speeds; those of the same size count by their median.
  ///   - areMasked: whether they are of the causal mask.
  ///   - isMasked: what the curve is for.
  public mutating func setUsualCurve(
    through points: [Point], areMasked: Bool, _ pass: AttentionPass, isMasked: Bool
  ) {
    func share(_ tokens: Double, _ isMasked: Bool) -> Double {
      1 / (1 + (isMasked ? 300 : 100) / tokens)
    }
    let bySize = Dictionary(grouping: points, by: \.tokens).sorted { $0.key < $1.key }
    let known = bySize.map { tokens, points in
      let median = points.map(\.flopsPerSecond).sorted()[points.count / 2]
      return Point(
        tokens: tokens, flopsPerSecond: median * share(tokens, isMasked) / share(tokens, areMasked))
    }
    guard let first = known.first, let last = known.last else { return }
    let sizes = (4...24).map { Double(1 << $0) }
    func beyond(_ end: Point, _ sizes: [Double]) -> [Point] {
      sizes.map { tokens in
        let ratio = share(tokens, isMasked) / share(end.tokens, isMasked)
        return Point(tokens: tokens, flopsPerSecond: end.flopsPerSecond * ratio)
      }
    }
    let smaller = beyond(first, sizes.filter { $0 < first.tokens })
    let larger = beyond(last, sizes.filter { $0 > last.tokens })
    setCurve(smaller + known + larger, pass, isMasked: isMasked)
  }

  /// Multiplies all speeds of a pass.
  public mutating func scale(by factor: Double, _ pass: AttentionPass) {
    for (kind, points) in curves where kind.pass == pass {
      curves[kind] = points.map {
        Point(tokens: $0.tokens, flopsPerSecond: $0.flopsPerSecond * factor)
      }
    }
  }

  /// Flops a second of one thread on a square of scores; a mask that was not measured is taken for
  /// none, and a pass that was not for the other.
  public func flopsPerSecond(tokens: Double, _ pass: AttentionPass, isMasked: Bool) -> Double {
    let kinds = [
      Kind(pass: pass, isMasked: isMasked), Kind(pass: pass, isMasked: !isMasked),
      Kind(pass: pass == .forward ? .backward : .forward, isMasked: isMasked),
      Kind(pass: pass == .forward ? .backward : .forward, isMasked: !isMasked),
    ]
    guard let points = kinds.lazy.compactMap({ curves[$0] }).first, let first = points.first,
      let last = points.last
    else { preconditionFailure("a kernel without a speed") }
    if points.count == 1 { return first.flopsPerSecond }
    if tokens <= first.tokens {
      return first.flopsPerSecond * max(tokens, 1e-9) / first.tokens
    }
    guard let right = points.firstIndex(where: { $0.tokens >= tokens }) else {
      return last.flopsPerSecond
    }
    let (low, high) = (points[right - 1], points[right])
    let share = log(tokens / low.tokens) / log(high.tokens / low.tokens)
    return low.flopsPerSecond + share * (high.flopsPerSecond - low.flopsPerSecond)
  }
}
