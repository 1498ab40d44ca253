public import Compute

/// Attention with linear biases: `f(s) = s − m_h · |p_i − p_j|`, `f′(s) = 1`, for a query and a key
/// at these positions.
///
/// Near keys weigh more, by a slope of each head. It stands in for positions that are turned into
/// queries and keys. Distances are differences of integers, right at any position.
///
/// Cost: a subtraction, an absolute value and a multiply–add for each vector of scores; twice as
/// much where positions come from a table.
///
/// Source: Press, Smith, Lewis 2022, Train Short, Test Long, section 3.
@frozen
public struct Alibi: ScoreRule {
  /// Of each query head, m.
  public let slopes: [Float]
  /// Where queries stand.
  public let queries: TokenPositions
  /// Where keys stand.
  public let keys: TokenPositions

  /// Creates the rule.
  ///
  /// - Parameters:
  ///   - slopes: one for each query head.
  ///   - offset: `keyTokens − tokens` where there are more keys than queries.
  public init(slopes: [Float], offset: Int = 0) {
    self.init(slopes: slopes, queries: TokenPositions(offset: offset), keys: TokenPositions())
  }

  /// Creates the rule for tokens that stand anywhere.
  ///
  /// - Parameters:
  ///   - slopes: one for each query head.
  ///   - queries: where queries stand.
  ///   - keys: where keys stand.
  public init(slopes: [Float], queries: TokenPositions, keys: TokenPositions) {
    self.slopes = slopes
    self.queries = queries
    self.keys = keys
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

  /// Scores are shifted alone.
  public var isShift: Bool { true }

  /// Takes the slope times the distance away.
  @inlinable @inline(__always)
  public func change(
    _ scores: Vector, at place: ScorePlace
  ) -> (score: Vector, slope: Vector) {
    let query = queries[place.batch, place.query]
    var distances = Vector()
    for lane in 0..<place.count {
      let key = keys[place.batch, place.firstKey + lane * place.keyStride]
      distances[lane] = Float(abs(query - key))
    }
    return (
      scores.addingProduct(Vector(repeating: -slopes[place.head]), distances),
      Vector(repeating: 1)
    )
  }

  /// The same for a tile, of which a row needs its distance to the first key alone where keys stand
  /// one after the other.
  public func apply(to tile: ScoreTile) {
    let place = tile.first
    // Scores are in base 2.
    let slope = Vector(repeating: -slopes[place.head] * 1.442_695_04)
    tile.fillSlopes()
    if keys.isTable {
      unsafe applyFromTable(to: tile, slope)
      return
    }
    let firstKey = keys[place.batch, place.firstKey]
    let step = Vector(repeating: Float(place.keyStride * Vector.width))
    let ramp = Vector.lanes * Float(place.keyStride)
    for row in 0..<tile.rows {
      let query = queries[place.batch, place.query + row * tile.queryStride]
      var distances = Vector(repeating: Float(query - firstKey)) - ramp
      let scores = unsafe tile.scores + row * tile.stride
      var column = 0
      while column < place.count {
        unsafe Vector(loading: scores, at: column).addingProduct(slope, distances.magnitude)
          .store(to: scores, at: column)
        distances -= step
        column += Vector.width
      }
    }
  }

  /// Positions of keys are the same for all rows, and found once for each vector of them.
  @unsafe
  private func applyFromTable(to tile: ScoreTile, _ slope: Vector) {
    let place = tile.first
    var column = 0
    while column < place.count {
      let count = min(Vector.width, place.count - column)
      let first = place.batch * keys.tokens + place.firstKey + column * place.keyStride
      var positions = SIMD8<Int32>()
      for lane in 0..<count { positions[lane] = keys.table[first + lane * place.keyStride] }
      for row in 0..<tile.rows {
        let query = queries[place.batch, place.query + row * tile.queryStride] - keys.base
        let scores = unsafe tile.scores + row * tile.stride
        let distances: Vector
        if let near = Int32(exactly: query), near >= 0 {
          // Neither is negative, so that there is no overflow.
          distances = Vector(SIMD8(repeating: near) &- positions)
        } else {
          distances = Vector(repeating: Float(query)) - Vector(positions)
        }
        unsafe Vector(loading: scores, at: column).addingProduct(slope, distances.magnitude)
          .store(to: scores, at: column)
      }
      column += Vector.width
    }
  }
}
