/// What an error counts: its square up to some hundredths, and itself beyond.
///
/// Source: the pseudo-Huber loss; Charbonnier, Blanc-Féraud, Aubert, Barlaud 1997, Deterministic
/// Edge-Preserving Regularization in Computed Imaging.
enum RobustLoss {
  private static let width = 0.03

  /// - Parameter error: the logarithm of a quotient of predicted and measured.
  static func of(_ error: Double) -> Double { width * (spread(error) - 1) }

  /// The number that errors are least far from.
  ///
  /// - Parameter drawn: what the square of the number counts.
  static func centre(of errors: [Double], drawn: Double) -> Double {
    var centre = 0.0
    // Newton's method with the weights that the errors have where it is.
    for _ in 0..<100 {
      var (sum, weights) = (0.0, 2 * drawn)
      for error in errors {
        let weight = 1 / (width * spread(error - centre))
        sum += weight * error
        weights += weight
      }
      let next = sum / weights
      if abs(next - centre) < 1e-7 { return next }
      centre = next
    }
    return centre
  }

  private static func spread(_ error: Double) -> Double {
    let scaled = error / width
    return (1 + scaled * scaled).squareRoot()
  }
}
