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
  ///   - exponent: of a row of a sequence, in tokens; nil makes the row 0.
  func multiply(_ tensor: inout Tensor<Float>, exponent: (_ batch: Int, _ row: Int) -> Int?) {
    let (batch, rows, heads) = (tensor.shape[0], tensor.shape[1], tensor.shape[2])
    let headDim = tensor.shape[3]
    let (step, distance) = pairing == .half ? (1, bases.count) : (2, 1)
    var numbers = tensor.mutableSpan
    for sequence in 0..<batch {
      for row in 0..<rows {
        let first = (sequence * rows + row) * heads * headDim
        guard let exponent = exponent(sequence, row) else {
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
  /// Rows that stand before all of them, which see none under a causal mask, become 0.
  ///
  /// - Parameters:
  ///   - keys: positions of keys, whose middle is the origin of powers.
  ///   - position: where a row of a sequence stands.
  public func multiplyQueries(
    _ tensor: inout Tensor<Float>, meeting keys: Range<Int>,
    position: (_ batch: Int, _ row: Int) -> Int
  ) {
    let center = keys.lowerBound + keys.count / 2
    multiply(&tensor) {
      let own = position($0, $1)
      return own < keys.lowerBound ? nil : own - center
    }
  }

  /// Multiplies keys, or their gradients; those that are not among some become 0.
  ///
  /// - Parameters:
  ///   - keys: positions, whose middle is the origin of powers.
  ///   - position: where a row of a sequence stands; nil if it is not among them.
  public func multiplyKeys(
    _ tensor: inout Tensor<Float>, among keys: Range<Int>,
    position: (_ batch: Int, _ row: Int) -> Int?
  ) {
    let center = keys.lowerBound + keys.count / 2
    multiply(&tensor) {
      guard let own = position($0, $1), keys.contains(own) else { return nil }
      return center - own
    }
  }
}
