import Glibc

/// `s − m_h |p_query − p_key|`.
public struct ReferenceAlibi: ReferenceScoreRule {
  /// Of each query head, m.
  public let slopes: [Double]
  /// Where queries and keys stand.
  public let positions: ReferenceTokenPositions

  /// Creates the rule.
  public init(slopes: [Double], offset: Int = 0) {
    self.init(slopes: slopes, positions: ReferenceTokenPositions(offset: offset))
  }

  /// Creates the rule for tokens that stand anywhere.
  public init(slopes: [Double], positions: ReferenceTokenPositions) {
    self.slopes = slopes
    self.positions = positions
  }

  /// `2^(−8 (h + 1) / c)` for the largest power of two c up to the heads, and for the heads past
  /// those `2^(−4 (2n + 1) / c)`, n from 0.
  public static func slopes(heads: Int) -> [Double] {
    var c = 1
    while 2 * c <= heads { c *= 2 }
    return (0..<heads).map { h in
      pow(2, h < c ? -8 * Double(h + 1) / Double(c) : -4 * Double(2 * (h - c) + 1) / Double(c))
    }
  }

  /// `s − m_h |p_query − p_key|`.
  public func score(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double {
    s - slopes[head] * abs(positions.query(batch, query) - positions.key(batch, key))
  }

  /// 1.
  public func slope(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double { 1 }
}
