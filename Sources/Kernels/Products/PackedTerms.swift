import Compute

/// What rows of activations and panels of weights are packed in for products of many rows: words of
/// 32 bits, each of which has one term or several.
///
/// A group of rows is `[words][6]`, a panel `[words][W]`. A word more may hold what several terms
/// have in common, such as their scale.
protocol PackedTerms: SendableMetatype {
  /// The words of so many terms of a row of activations, beginning where a unit does.
  static func rowWords(of terms: Int) -> Int
  /// The words of so many terms of a row of weights.
  static func panelWords(of terms: Int) -> Int

  /// Packs one row of activations.
  ///
  /// - Parameter words: room for ``rowWords(of:)``, and for 32 more.
  @unsafe static func pack(
    _ numbers: UnsafePointer<Float>, count: Int, to words: UnsafeMutablePointer<UInt32>)

  /// Packs a unit of weights.
  ///
  /// - Parameter words: room for those of a unit; up to 32 words from its begin may be overwritten.
  @unsafe static func pack(_ weights: WeightUnit, to words: UnsafeMutablePointer<UInt32>)

  /// Multiplies a group of rows by a panel.
  ///
  /// - Parameters:
  ///   - terms: of both.
  ///   - target: where the product goes, rows `stride` floats apart.
  @unsafe static func multiply(
    rows: UnsafePointer<UInt32>, panel: UnsafePointer<UInt32>, terms: Int,
    to target: UnsafeMutablePointer<Float>, stride: Int, adding: Bool)
}

extension PackedTerms where Self: Factor {
  @inline(__always) static func rowWords(of terms: Int) -> Int { steps(of: terms) }
  @inline(__always) static func panelWords(of terms: Int) -> Int { steps(of: terms) }

  @unsafe @inline(__always)
  private static func factors(
    _ words: UnsafeMutablePointer<UInt32>
  ) -> UnsafeMutablePointer<Self> {
    unsafe UnsafeMutableRawPointer(words).assumingMemoryBound(to: Self.self)
  }

  @unsafe @inline(__always)
  private static func factors(_ words: UnsafePointer<UInt32>) -> UnsafePointer<Self> {
    unsafe UnsafeRawPointer(words).assumingMemoryBound(to: Self.self)
  }

  @unsafe @inline(__always)
  static func pack(
    _ numbers: UnsafePointer<Float>, count: Int, to words: UnsafeMutablePointer<UInt32>
  ) {
    let (factors, length) = unsafe (factors(words), 2 * Vector.width)
    let whole = count / length * length
    for first in stride(from: 0, to: whole, by: length) {
      unsafe store(
        (Vector(loading: numbers, at: first), Vector(loading: numbers, at: first + Vector.width)),
        to: factors + first / depth)
    }
    for first in stride(from: whole, to: count, by: depth) {
      unsafe factors[first / depth] = factor(
        of: numbers + first, stride: 1, count: min(depth, count - first)
      ) { _ in 1 }
    }
  }

  /// Makes factors in the place of numbers.
  @unsafe @inline(__always)
  static func pack(_ weights: WeightUnit, to words: UnsafeMutablePointer<UInt32>) {
    let place = UnsafeMutableRawPointer(words)
    unsafe place.storeBytes(of: weights.first, as: SIMD16<Float>.self)
    unsafe place.storeBytes(of: weights.second, toByteOffset: 64, as: SIMD16<Float>.self)
    if depth > 1 {
      unsafe pack(
        place.assumingMemoryBound(to: Float.self), count: WeightUnit.length, to: words)
    }
  }

  @unsafe @inline(__always)
  static func multiply(
    rows: UnsafePointer<UInt32>, panel: UnsafePointer<UInt32>, terms: Int,
    to target: UnsafeMutablePointer<Float>, stride: Int, adding: Bool
  ) {
    unsafe multiply(
      rows: factors(rows), rowStride: 1, runStride: groupRows, panel: factors(panel),
      steps: steps(of: terms), scale: nil, to: target, stride: stride, adding: adding)
  }
}

extension Float: PackedTerms {}
extension BFloat16Pair: PackedTerms {}
