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
