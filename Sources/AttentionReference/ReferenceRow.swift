import Glibc

/// One row of attention in `Double`: scores are remembered as they come, and the softmax is taken
/// over all of them at the end, in the two passes of its definition.
///
/// Several rows over different keys, for example those that different ranks hold, add up to the row
/// over all keys: see ``combine(_:)``.
public struct ReferenceRow: Sendable {
  private var scores: [Double] = []
  /// `[scores, valueHeadDim]`.
  private var values: [Double] = []
  private let valueHeadDim: Int

  /// Creates a row that has seen no key.
  public init(valueHeadDim: Int) {
    self.valueHeadDim = valueHeadDim
  }

  /// Adds a visible key.
  ///
  /// - Parameters:
  ///   - score: scaled, with any bias added.
  ///   - value: the key's value.
  public mutating func add(score: Double, value: ArraySlice<Double>) {
    scores.append(score)
    values.append(contentsOf: value)
  }

  /// What a row gives.
  public struct Result: Hashable, Sendable {
    /// `[valueHeadDim]`.
    public let output: [Double]
    /// The natural logarithm of the sum of the exponentials of the scores.
    public let logSumExp: Double

    /// Takes both.
    public init(output: [Double], logSumExp: Double) {
      self.output = output
      self.logSumExp = logSumExp
    }
  }

  /// Output and log-sum-exp over all keys: 0 and −∞ if there are none.
  public var result: Result {
    var output = [Double](repeating: 0, count: valueHeadDim)
    guard let largest = scores.max() else {
      return Result(output: output, logSumExp: -.infinity)
    }
    var sum = 0.0
    for (j, score) in scores.enumerated() {
      let weight = exp(score - largest)
      sum += weight
      for d in 0..<valueHeadDim { output[d] += weight * values[j * valueHeadDim + d] }
    }
    for d in 0..<valueHeadDim { output[d] /= sum }
    return Result(output: output, logSumExp: largest + log(sum))
  }

  /// The row over all keys from the results over parts of them.
  public static func combine(_ parts: [Result]) -> Result {
    let largest = parts.map(\.logSumExp).max() ?? -.infinity
    let columns = parts.first?.output.count ?? 0
    var output = [Double](repeating: 0, count: columns)
    if largest == -.infinity { return Result(output: output, logSumExp: -.infinity) }
    let total = parts.reduce(0) { $0 + exp($1.logSumExp - largest) }
    for part in parts {
      let share = exp(part.logSumExp - largest) / total
      for d in 0..<columns { output[d] += share * part.output[d] }
    }
    return Result(output: output, logSumExp: largest + log(total))
  }
}
