import Glibc

/// The twin of the decay of xPos: columns of a query at p and a key at n have `ζ^((p − c)/512)` and
/// `ζ^((c − n)/512)`, where c is the middle of the group of neighbouring positions that n is one
/// of.
///
/// Their product does not depend on c; but what is rounded on the way does.
public struct ReferenceDecay: Sendable {
  private let bases: [Double]
  private let isInterleaved: Bool
  private let groupLength: Int
  private let position: @Sendable (_ batch: Int, _ key: Int) -> Double
  private let range: Range<Int>

  /// Describes it.
  ///
  /// - Parameters:
  ///   - bases: ζ of each pair of columns.
  ///   - isInterleaved: whether neighbouring columns are a pair.
  ///   - groupLength: positions of a group.
  ///   - range: the first position of keys, and the one after the last.
  ///   - position: where a key stands.
  public init(
    bases: [Double], isInterleaved: Bool, groupLength: Int, range: Range<Int>,
    position: @escaping @Sendable (_ batch: Int, _ key: Int) -> Double
  ) {
    self.bases = bases
    self.isInterleaved = isInterleaved
    self.groupLength = groupLength
    (self.range, self.position) = (range, position)
  }

  /// What multiplies the columns of a key.
  func ofKey(_ key: Int, batch: Int, columns: Int) -> [Double] {
    factors(Double(center(of: key, batch)) - position(batch, key), columns)
  }

  /// What multiplies the columns of a query as it meets a key.
  func ofQuery(at position: Double, meeting key: Int, batch: Int, columns: Int) -> [Double] {
    factors(position - Double(center(of: key, batch)), columns)
  }

  private func center(of key: Int, _ batch: Int) -> Int {
    let place = Int(position(batch, key)) - range.lowerBound
    let first = place - place % groupLength
    return range.lowerBound + first + (min(first + groupLength, range.count) - first) / 2
  }

  private func factors(_ exponent: Double, _ columns: Int) -> [Double] {
    var factors = [Double](repeating: 1, count: columns)
    for (pair, base) in bases.enumerated() {
      let factor = exp(log(base) * exponent / 512)
      factors[isInterleaved ? 2 * pair : pair] = factor
      factors[isInterleaved ? 2 * pair + 1 : pair + bases.count] = factor
    }
    return factors
  }
}
