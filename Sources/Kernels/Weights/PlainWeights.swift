import CInstructions
import Compute

/// F32: numbers.
enum PlainWeights32: StoredWeights {
  static var type: WeightType { .f32 }

  @unsafe @inline(__always)
  static func unit(_ number: Int, of row: UnsafeRawPointer) -> WeightUnit {
    let start = unsafe row + number * 4 * WeightUnit.length
    return unsafe WeightUnit(
      start.loadUnaligned(as: SIMD16<Float>.self),
      start.loadUnaligned(fromByteOffset: 64, as: SIMD16<Float>.self))
  }
}

/// F16: numbers of half precision.
enum PlainWeights16: StoredWeights {
  static var type: WeightType { .f16 }

  @unsafe @inline(__always)
  static func unit(_ number: Int, of row: UnsafeRawPointer) -> WeightUnit {
    let start = unsafe row + number * 2 * WeightUnit.length
    return unsafe WeightUnit(gyre_widen_halves(start), gyre_widen_halves(start + 32))
  }
}

/// BF16: numbers of which the lower half is cut off.
enum PlainWeightsBrain: StoredWeights {
  static var type: WeightType { .bf16 }

  @unsafe @inline(__always)
  static func unit(_ number: Int, of row: UnsafeRawPointer) -> WeightUnit {
    let start = unsafe row + number * 2 * WeightUnit.length
    return unsafe WeightUnit(gyre_widen_brains(start), gyre_widen_brains(start + 32))
  }
}
