public import Compute

/// Attention with linear biases: `f(s) = s − m_h · |t − j|`, `f′(s) = 1`, for a query that stands
/// at `t` among the keys and a key at `j`.
///
/// Near keys weigh more, by a slope of each head. It stands in for positions that are turned into
/// queries and keys.
///
/// Cost: three additions and a multiply–add for each vector of scores.
///
/// Source: Press, Smith, Lewis 2022, Train Short, Test Long, section 3.
@frozen
public struct Alibi: ScoreRule {
  /// Of each query head, m.
  public let slopes: [Float]
  /// How far past its own position a query stands among the keys.
  public let offset: Int

  /// Creates the rule.
  ///
  /// - Parameters:
  ///   - slopes: one for each query head.
  ///   - offset: `keyTokens − tokens` where there are more keys than queries.
  public init(slopes: [Float], offset: Int = 0) {
    self.slopes = slopes
    self.offset = offset
  }

  /// The published slopes of so many heads.
  ///
  /// For a power of two they are `2^(−8/H), 2^(−16/H), …, 2^(−8)`; else those of the power below,
  /// and then every other one of the power above.
  public static func slopes(heads: Int) -> [Float] {
    precondition(heads >= 1, "slopes of \(heads) heads")
    let power = 1 << (Int.bitWidth - 1 - heads.leadingZeroBitCount)
    let own = geometric(power)
    let between = geometric(2 * power).enumerated().filter { $0.offset % 2 == 0 }.map(\.element)
    return (own + between).prefix(heads).map { Float($0) }
  }

  /// `2^(−8 (h + 1) / count)`, for a power of two.
  private static func geometric(_ count: Int) -> [Double] {
    // By square roots of powers of two alone, which are exact or rounded once.
    var first = 1.0 / 256
    var heads = 1
    while heads < count {
      first = first.squareRoot()
      heads *= 2
    }
    return (0..<count).map { head in (0...head).reduce(1) { value, _ in value * first } }
  }

  /// Takes the slope times the distance away.
  @inlinable @inline(__always)
  public func change(
    _ scores: Vector, at place: ScorePlace
  ) -> (score: Vector, slope: Vector) {
    var moved = place
    moved.query += offset
    let distances = moved.distances
    let before = Vector(repeating: 0) - distances
    let slope = slopes[place.head]
    return (
      scores.addingProduct(
        Vector(repeating: -slope), distances.replacing(with: before, where: before .> distances)),
      Vector(repeating: 1)
    )
  }
}
