import CInstructions
import Compute

/// Forms whose blocks are eight units, which share what their scales are made of.
protocol ScaledBlocks: StoredWeights {
  /// The integers of a unit of a block.
  @unsafe static func levels(_ part: Int, of block: UnsafeRawPointer) -> WeightUnit
  /// The scales of the halves of all units.
  @unsafe static func scales(of block: UnsafeRawPointer) -> SIMD16<Float>
  /// Their offsets.
  @unsafe static func offsets(of block: UnsafeRawPointer) -> SIMD16<Float>
  /// Whether the halves of a unit differ in scale.
  static var scalesHalves: Bool { get }
  /// Whether there are offsets.
  static var hasOffsets: Bool { get }
}

extension ScaledBlocks {
  static var hasOffsets: Bool { false }

  @unsafe @inline(__always)
  static func offsets(of block: UnsafeRawPointer) -> SIMD16<Float> { .zero }

  @unsafe @inline(__always)
  static func unit(_ number: Int, of row: UnsafeRawPointer) -> WeightUnit {
    let block = unsafe row + number / 8 &* type.blockBytes
    return unsafe unit(number % 8, of: block, scales(of: block), offsets(of: block))
  }

  /// Widens a unit of a block.
  @unsafe @inline(__always)
  private static func unit(
    _ part: Int, of block: UnsafeRawPointer, _ scales: SIMD16<Float>, _ offsets: SIMD16<Float>
  ) -> WeightUnit {
    let levels = unsafe levels(part, of: block)
    let (first, second) = (Int32(2 * part), Int32(2 * part + 1))
    return WeightUnit(
      gyre_repeated_lane(offsets, first)
        .addingProduct(levels.first, gyre_repeated_lane(scales, first)),
      gyre_repeated_lane(offsets, second)
        .addingProduct(levels.second, gyre_repeated_lane(scales, second)))
  }

  @unsafe @inline(__always)
  static func forEachUnit(
    _ units: Range<Int>, of row: UnsafeRawPointer,
    _ body: (_ number: Int, _ weights: WeightUnit) -> Void
  ) {
    for first in stride(from: units.lowerBound, to: units.upperBound, by: 8) {
      let block = unsafe row + first / 8 &* type.blockBytes
      let (scales, offsets) = unsafe (scales(of: block), offsets(of: block))
      eachPart { part in
        unsafe body(first &+ part, unit(part, of: block, scales, offsets))
      }
    }
  }

  @unsafe @inline(__always)
  static func product(of row: UnsafeRawPointer, units: Int, with factor: FactorRow) -> Float {
    var sums = WeightUnit(.zero, .zero)
    var sumOfOffsets = SIMD16<Float>()
    for first in stride(from: 0, to: units, by: 8) {
      let block = unsafe row + first / 8 &* type.blockBytes
      let scales = unsafe scales(of: block)
      eachPart { part in
        if part % 2 == 0 { unsafe ask(first &+ part, of: row) }
        unsafe add(part, of: block, scales, factor[first &+ part], to: &sums)
      }
      if hasOffsets {
        let halfSums = unsafe UnsafeRawPointer(factor.halfSums + 2 &* first)
        sumOfOffsets = unsafe sumOfOffsets.addingProduct(
          offsets(of: block), halfSums.loadUnaligned(as: SIMD16<Float>.self))
      }
    }
    return (sums.first + sums.second + sumOfOffsets).laneSum
  }

  /// Calls `body` for the eight units of a block, written out: bits lie at places that the compiler
  /// has to know.
  @inline(__always)
  private static func eachPart(_ body: (_ part: Int) -> Void) {
    body(0)
    body(1)
    body(2)
    body(3)
    body(4)
    body(5)
    body(6)
    body(7)
  }

  /// Adds the products of a unit with as many numbers, scaled.
  @unsafe @inline(__always)
  private static func add(
    _ part: Int, of block: UnsafeRawPointer, _ scales: SIMD16<Float>, _ numbers: WeightUnit,
    to sums: inout WeightUnit
  ) {
    let levels = unsafe levels(part, of: block)
    if scalesHalves {
      sums.first = sums.first.addingProduct(
        levels.first * numbers.first, gyre_repeated_lane(scales, Int32(2 * part)))
      sums.second = sums.second.addingProduct(
        levels.second * numbers.second, gyre_repeated_lane(scales, Int32(2 * part + 1)))
    } else {
      sums.first = sums.first.addingProduct(
        (levels.first * numbers.first).addingProduct(levels.second, numbers.second),
        gyre_repeated_lane(scales, Int32(2 * part)))
    }
  }
}
