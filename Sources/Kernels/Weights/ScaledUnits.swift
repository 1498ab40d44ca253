import Compute

/// Forms whose blocks are a unit, with a scale of its own: `scale · q + offset` of small numbers
/// `q`; the scale is of half precision and comes first, unless a form says otherwise.
///
/// In a product a unit's scale meets the sum of its products, and its offset the sum of the other
/// factors: two multiplications where each weight by itself would take 32.
protocol ScaledUnits: StoredWeights {
  /// The small numbers of a block.
  @unsafe static func levels(of block: UnsafeRawPointer) -> WeightUnit
  /// The scale of a block.
  @unsafe static func scale(of block: UnsafeRawPointer) -> Float
  /// Where its offset lies, if it has one.
  static var offsetPlace: Int? { get }
}

extension ScaledUnits {
  static var offsetPlace: Int? { nil }

  @unsafe @inline(__always)
  static func scale(of block: UnsafeRawPointer) -> Float { unsafe block.half(at: 0) }

  @unsafe @inline(__always)
  static func unit(_ number: Int, of row: UnsafeRawPointer) -> WeightUnit {
    let block = unsafe row + number &* type.blockBytes
    let scale = unsafe scale(of: block)
    var offset: Float = 0
    if let offsetPlace { offset = unsafe block.half(at: offsetPlace) }
    return unsafe levels(of: block).scaled(SIMD16(repeating: scale), SIMD16(repeating: offset))
  }

  @unsafe @inline(__always)
  static func product(of row: UnsafeRawPointer, units: Int, with factor: FactorRow) -> Float {
    var sums = SIMD16<Float>()
    var offsets: Float = 0
    for number in 0..<units {
      unsafe ask(number, of: row)
      let block = unsafe row + number &* type.blockBytes
      let (levels, numbers) = unsafe (levels(of: block), factor[number])
      let products = (levels.first * numbers.first).addingProduct(levels.second, numbers.second)
      sums = unsafe sums.addingProduct(products, SIMD16(repeating: scale(of: block)))
      if let offsetPlace {
        unsafe offsets.addProduct(
          block.half(at: offsetPlace),
          factor.halfSums[2 &* number] + factor.halfSums[2 &* number &+ 1])
      }
    }
    return sums.laneSum + offsets
  }
}
