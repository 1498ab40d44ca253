import CInstructions
import Compute

/// Q4_0: `d · (q − 8)`; `d` of half precision, then sixteen bytes, whose lower halves are the first
/// sixteen of a block and whose upper halves the others.
enum Weights4Symmetric: StoredWeights {
  static var type: WeightType { .q4_0 }

  @unsafe @inline(__always)
  static func unit(_ number: Int, of row: UnsafeRawPointer) -> WeightUnit {
    let block = unsafe row + number * 18
    let d = unsafe block.half(at: 0)
    return unsafe WeightUnit(
      gyre_floats_of_bytes(gyre_bits_of_bytes(block + 2, 0, 15)),
      gyre_floats_of_bytes(gyre_bits_of_bytes(block + 2, 4, 15)), scale: d, offset: -8 * d)
  }
}

/// Q4_1: `d · q + m`; `d` and `m` of half precision, then the bytes of Q4_0.
enum Weights4: StoredWeights {
  static var type: WeightType { .q4_1 }

  @unsafe @inline(__always)
  static func unit(_ number: Int, of row: UnsafeRawPointer) -> WeightUnit {
    let block = unsafe row + number * 20
    return unsafe WeightUnit(
      gyre_floats_of_bytes(gyre_bits_of_bytes(block + 4, 0, 15)),
      gyre_floats_of_bytes(gyre_bits_of_bytes(block + 4, 4, 15)), scale: block.half(at: 0),
      offset: block.half(at: 2))
  }
}
