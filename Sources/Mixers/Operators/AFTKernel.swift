import Compute

/// The loops of an attention free transformer: a token meets others, in eight channels.
///
/// Exponents are taken relative to the largest, so that none is above 0.
enum AFTKernel {
  /// What is added to the keys that a token meets.
  @safe
  struct Bias {
    enum Kind {
      case none
      /// One number a key.
      case pairs
      /// A number for each channel a key.
      case channels
    }

    let kind: Kind
    let base: UnsafeMutablePointer<Float>
    /// From one key to the next, where there is one for each channel.
    let step: Int

    /// None.
    @unsafe
    init(none base: UnsafeMutablePointer<Float>) {
      unsafe (kind, self.base, step) = unsafe (.none, base, 0)
    }

    @unsafe
    init(pairs base: UnsafeMutablePointer<Float>) {
      unsafe (kind, self.base, step) = unsafe (.pairs, base, 1)
    }

    /// - Parameter base: at the first of the eight channels.
    @unsafe
    init(channels base: UnsafeMutablePointer<Float>, step: Int) {
      unsafe (kind, self.base, self.step) = unsafe (.channels, base, step)
    }

    @unsafe @inline(__always)
    fileprivate subscript(key: Int) -> Vector {
      switch kind {
      case .none: .zero
      case .pairs: unsafe Vector(repeating: base[key])
      case .channels: unsafe Vector(loading: base, at: key * step)
      }
    }
  }

  /// What a token has of what it has met, relative to an exponent.
  struct Sums {
    var values = Vector.zero
    var weights = Vector.zero
    var top = Vector(repeating: AFTMeans.lowest)

    init() {}

    /// Three rows of numbers.
    @unsafe @inline(__always)
    init(_ rows: UnsafeMutablePointer<Float>, step: Int) {
      values = unsafe Vector(loading: rows, at: 0)
      weights = unsafe Vector(loading: rows, at: step)
      top = unsafe Vector(loading: rows, at: 2 * step)
    }

    @unsafe @inline(__always)
    func store(to rows: UnsafeMutablePointer<Float>, step: Int) {
      unsafe values.store(to: rows, at: 0)
      unsafe weights.store(to: rows, at: step)
      unsafe top.store(to: rows, at: 2 * step)
    }

    /// Adds others, relative to their own exponent.
    @inline(__always)
    mutating func add(_ values: Vector, _ weights: Vector, _ top: Vector) {
      let most = self.top.larger(top)
      let (own, others) = (vanishingExp(self.top - most), vanishingExp(top - most))
      self.values = self.values * own + values * others
      self.weights = self.weights * own + weights * others
      self.top = most
    }
  }

  /// Adds the keys that a token meets.
  ///
  /// - Parameters:
  ///   - keys: those of eight channels, with values `step` numbers after them.
  ///   - row: from one key to the next.
  @unsafe @inline(__always)
  static func meet(
    _ sums: inout Sums, _ keys: UnsafeMutablePointer<Float>, step: Int, row: Int, count: Int,
    _ bias: Bias
  ) {
    var top = sums.top
    for key in 0..<count {
      top = unsafe top.larger(bias[key] + Vector(loading: keys, at: key * row))
    }
    let kept = vanishingExp(sums.top - top)
    sums.values *= kept
    sums.weights *= kept
    for key in 0..<count {
      let x = unsafe bias[key] + Vector(loading: keys, at: key * row) - top
      let weight = vanishingExp(x)
      sums.weights += weight
      unsafe sums.values.addProduct(weight, Vector(loading: keys, at: key * row + step))
    }
    sums.top = top
  }

  /// Adds what a token gives to the gradients of the keys and values that it has met.
  ///
  /// - Parameters:
  ///   - slope: its three rows, as ``AFTMeans/slopes`` has them.
  ///   - ofBias: `[keys, 8]`, gets the gradients of biases that each channel has; nil for none.
  @unsafe @inline(__always)
  static func meetBackward(
    _ slope: Sums, _ keys: UnsafeMutablePointer<Float>, _ gradients: UnsafeMutablePointer<Float>,
    step: Int, row: Int, count: Int, _ bias: Bias, ofBias: UnsafeMutablePointer<Float>?
  ) {
    for key in 0..<count {
      let place = key * row
      let x = unsafe bias[key] + Vector(loading: keys, at: place) - slope.top
      let weight = vanishingExp(x)
      let ofValue = weight * slope.values
      let ofKey = unsafe ofValue * Vector(loading: keys, at: place + step) - weight * slope.weights
      unsafe ofKey.add(to: gradients, at: place)
      unsafe ofValue.add(to: gradients, at: place + step)
      if let ofBias = unsafe ofBias { unsafe ofKey.add(to: ofBias, at: key * 8) }
    }
  }

  /// Adds the gradients of biases of pairs: sums over eight channels.
  @unsafe @inline(__always)
  static func addBiasGradients(
    _ slope: Sums, _ keys: UnsafeMutablePointer<Float>, step: Int, row: Int, count: Int,
    _ bias: Bias, to gradients: UnsafeMutablePointer<Float>
  ) {
    for key in 0..<count {
      let place = key * row
      let x = unsafe bias[key] + Vector(loading: keys, at: place) - slope.top
      let ofValue = unsafe Vector(loading: keys, at: place + step) * slope.values
      unsafe gradients[key] += (vanishingExp(x) * (ofValue - slope.weights)).laneSum
    }
  }
}
