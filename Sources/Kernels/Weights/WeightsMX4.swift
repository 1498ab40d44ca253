import CInstructions
import Compute

/// MXFP4: `2^(e − 128) · q` with the `q` of four bits that are 0, 1, 2, 3, 4, 6, 8, 12 and these
/// with the other sign; `e` in a byte, then sixteen bytes, whose lower halves are the first sixteen
/// of a block and whose upper halves the others.
enum WeightsMX4: ScaledUnits {
  static var type: WeightType { .mxfp4 }

  @unsafe @inline(__always)
  static func scale(of block: UnsafeRawPointer) -> Float {
    let exponent = unsafe UInt32(block.byte(at: 0))
    // The two lowest are below the least normal number.
    return Float(bitPattern: exponent < 2 ? 0x0020_0000 << exponent : (exponent &- 1) << 23)
  }

  @unsafe @inline(__always)
  static func levels(of block: UnsafeRawPointer) -> WeightUnit {
    unsafe WeightUnit(gyre_small_floats(block + 1, 0), gyre_small_floats(block + 1, 4))
  }
}
