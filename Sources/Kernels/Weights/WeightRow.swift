import CInstructions
import Compute

/// A row of a matrix of stored weights.
///
/// Where numbers are stored as they are a row need not be a whole number of units; the rest of the
/// last one is then zeros.
@unsafe
struct WeightRow<Form: StoredWeights> {
  private let start: UnsafeRawPointer
  private let depth: Int

  /// Takes a row.
  @inline(__always)
  init(_ number: Int, of weights: UnsafeRawPointer, depth: Int) {
    unsafe start =
      weights + number * (depth / Form.type.blockLength) * Form.type.blockBytes
    unsafe self.depth = depth
  }

  /// Whole units.
  @inline(__always)
  var units: Int { unsafe depth / WeightUnit.length }
  /// Weights after them.
  @inline(__always)
  var rest: Int { unsafe depth % WeightUnit.length }

  /// Weights of a whole unit.
  @inline(__always)
  subscript(unit: Int) -> WeightUnit { unsafe Form.unit(unit, of: start) }

  /// Asks for memory some bytes after a unit, of this row or of those after it.
  @inline(__always)
  func ask(_ unit: Int, ahead bytes: Int) {
    let unitBytes = Form.type.blockBytes * WeightUnit.length / Form.type.blockLength
    unsafe gyre_prefetch_near(start + (unit &* unitBytes &+ bytes))
  }

  /// The weights after whole units, and zeros.
  func lastUnit() -> WeightUnit {
    unsafe withUnsafeTemporaryAllocation(byteCount: 4 * WeightUnit.length, alignment: 64) {
      unsafe $0.initializeMemory(as: UInt8.self, repeating: 0)
      let bytes = Form.type.blockBytes
      guard let copy = $0.baseAddress else { return WeightUnit(.zero, .zero) }
      unsafe copy.copyMemory(
        from: start + units * WeightUnit.length * bytes, byteCount: rest * bytes)
      return unsafe Form.unit(0, of: UnsafeRawPointer(copy))
    }
  }
}
