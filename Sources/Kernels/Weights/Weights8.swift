import CInstructions
import Compute

/// Q8_0: `d · q`; `d` of half precision, then 32 bytes with a sign.
enum Weights8: StoredWeights {
  static var type: WeightType { .q8_0 }

  @unsafe @inline(__always)
  static func unit(_ number: Int, of row: UnsafeRawPointer) -> WeightUnit {
    let block = unsafe row + number * 34
    let d = unsafe SIMD16<Float>(repeating: block.half(at: 0))
    return unsafe WeightUnit(
      gyre_widen_bytes(block + 2) * d, gyre_widen_bytes(block + 18) * d)
  }
}
