import Glibc

/// Rotary positions in `Double`: a pair of columns as a complex number, times `m · e^(ipθ)`.
public struct ReferenceRotation: Sendable {
  /// θ of each pair, in radians a token.
  public let frequencies: [Double]
  /// m.
  public let magnitude: Double
  /// Whether neighbouring columns are a pair, and not one of each half.
  public let isInterleaved: Bool

  /// Creates the rotation.
  public init(frequencies: [Double], magnitude: Double, isInterleaved: Bool) {
    self.frequencies = frequencies
    self.magnitude = magnitude
    self.isInterleaved = isInterleaved
  }

  /// The columns of a head, turned.
  public func callAsFunction(_ row: [Double], position: Double) -> [Double] {
    product(row, position: position)
  }

  /// The transpose of what is done to a row, on its gradient.
  public func transposed(_ row: [Double], position: Double) -> [Double] {
    product(row, position: -position)
  }

  private func product(_ row: [Double], position: Double) -> [Double] {
    var turned = row
    for (pair, frequency) in frequencies.enumerated() {
      let real = isInterleaved ? 2 * pair : pair
      let imaginary = isInterleaved ? 2 * pair + 1 : pair + frequencies.count
      let angle = position * frequency
      let (a, b) = (magnitude * cos(angle), magnitude * sin(angle))
      turned[real] = a * row[real] - b * row[imaginary]
      turned[imaginary] = a * row[imaginary] + b * row[real]
    }
    return turned
  }
}
