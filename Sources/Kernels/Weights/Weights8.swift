import CInstructions
import Compute

/// Q8_0: `d · q`; `d` of half precision, then 32 bytes with a sign.
enum Weights8: ScaledUnits {
  static var type: WeightType { .q8_0 }

  @unsafe @inline(__always)
  static func levels(of block: UnsafeRawPointer) -> WeightUnit {
    unsafe WeightUnit(gyre_widen_bytes(block + 2), gyre_widen_bytes(block + 18))
  }
}
