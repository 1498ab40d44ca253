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

  /// Widens some whole units, one after the other.
  ///
  /// - Parameter units: beginning where a block does.
  @inline(__always)
  func forEachUnit(
    _ units: Range<Int>, _ body: (_ number: Int, _ weights: WeightUnit) -> Void
  ) {
    unsafe Form.forEachUnit(units, of: start, body)
  }

  /// The sum of products of whole units with a row of A.
  @inline(__always)
  func product(with factor: FactorRow) -> Float {
    unsafe Form.product(of: start, units: units, with: factor)
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
