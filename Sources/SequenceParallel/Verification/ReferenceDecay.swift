import Glibc

/// The twin of the decay of xPos: columns of a query at p and a key at n have `ζ^((p − c)/512)` and
/// `ζ^((c − n)/512)`, where c is the middle of the group of neighbours that the key is one of.
///
/// Their product does not depend on c; but what is rounded on the way does.
public struct ReferenceDecay: Sendable {
  private let bases: [Double]
  private let isInterleaved: Bool
  private let groupLength: Int
  private let keyTokens: Int

  /// Describes it.
  ///
  /// - Parameters:
  ///   - bases: ζ of each pair of columns.
  ///   - isInterleaved: whether neighbouring columns are a pair.
  public init(bases: [Double], isInterleaved: Bool, groupLength: Int, keyTokens: Int) {
    self.bases = bases
    self.isInterleaved = isInterleaved
    self.groupLength = groupLength
    self.keyTokens = keyTokens
  }

  /// What multiplies the columns of a key.
  func ofKey(_ key: Int, columns: Int) -> [Double] {
    factors(Double(center(of: key) - key), columns)
  }

  /// What multiplies the columns of a query as it meets a key.
  func ofQuery(at position: Double, meeting key: Int, columns: Int) -> [Double] {
    factors(position - Double(center(of: key)), columns)
  }

  private func center(of key: Int) -> Int {
    let first = key - key % groupLength
    return first + (min(first + groupLength, keyTokens) - first) / 2
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
