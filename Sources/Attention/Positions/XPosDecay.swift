import Glibc
public import Tensors

/// The decay of xPos: what is further apart counts less.
///
/// Beside being turned, pairs of columns of queries are multiplied by `ζ_k^(p/512)` and those of
/// keys by `ζ_k^(−p/512)`, so that a score has `ζ_k^(distance/512)` in each pair. With D turned
/// columns `ζ_k = (2k + 0.4 D) / (1.4 D)`.
///
/// The powers leave `Float` at some 35,000 positions. So they are taken from a center near the keys
/// that are met, which cancels: `ζ^((p_i − c)/512) · ζ^(−(p_j − c)/512)`. Where the distance to
/// the center is so large that the first factor is no longer a number above 0 their product is not
/// either. Later keys would count the more the later they are; it is for causal masks.
///
/// Cost: an exponential for each pair of a token, and two multiplications for each pair of a head.
///
/// Source: Sun et al. 2022, A Length-Extrapolatable Transformer, section 3.
public struct XPosDecay: Hashable, Sendable {
  /// ζ, one for each pair.
  public let bases: [Double]
  private let pairing: RotaryPositions.Pairing

  /// - Parameter columns: turned columns of a head.
  public init(_ pairing: RotaryPositions.Pairing, columns: Int) {
    self.pairing = pairing
    let d = Double(columns)
    bases = (0..<columns / 2).map { (2 * Double($0) + 0.4 * d) / (1.4 * d) }
  }

  /// The tokens over which powers change by this.
  public static let tokens = 512.0

  /// Multiplies rows.
  ///
  /// - Parameters:
  ///   - tensor: `[batch, tokens, heads, headDim]`.
  ///   - exponents: of each token, in tokens; nil makes its row 0.
  func multiply(_ tensor: inout Tensor<Float>, exponents: [Int?]) {
    let (batch, heads, headDim) = (tensor.shape[0], tensor.shape[2], tensor.shape[3])
    precondition(tensor.shape[1] == exponents.count, "an exponent for each token")
    let (step, distance) = pairing == .half ? (1, bases.count) : (2, 1)
    var numbers = tensor.mutableSpan
    for sequence in 0..<batch {
      for (token, exponent) in exponents.enumerated() {
        let first = (sequence * exponents.count + token) * heads * headDim
        guard let exponent else {
          for column in first..<first + heads * headDim { numbers[column] = 0 }
          continue
        }
        for (pair, base) in bases.enumerated() {
          let factor = Float(pow(base, Double(exponent) / Self.tokens))
          for head in 0..<heads {
            let column = first + head * headDim + pair * step
            numbers[column] *= factor
            numbers[column + distance] *= factor
          }
        }
      }
    }
  }

  /// Multiplies queries that meet some keys, or their gradients.
  ///
  /// Rows that are before all of them, which see none under a causal mask, become 0.
  ///
  /// - Parameters:
  ///   - positions: of the rows.
  ///   - keys: whose center is the origin of powers.
  public func multiplyQueries(
    _ tensor: inout Tensor<Float>, positions: [Int], meeting keys: Range<Int>
  ) {
    let center = keys.lowerBound + keys.count / 2
    multiply(
      &tensor, exponents: positions.map { $0 < keys.lowerBound ? nil : $0 - center })
  }

  /// Multiplies keys, or their gradients; those that are not among some become 0.
  public func multiplyKeys(
    _ tensor: inout Tensor<Float>, positions: [Int], among keys: Range<Int>
  ) {
    let center = keys.lowerBound + keys.count / 2
    multiply(&tensor, exponents: positions.map { keys.contains($0) ? center - $0 : nil })
  }
}
