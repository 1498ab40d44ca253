/// A row of weights that is to be widened, by plain addresses: whoever creates it keeps both alive.
@safe
package struct StoredRow {
  /// A whole number of blocks.
  package let weights: UnsafeRawPointer
  package let type: WeightType
  /// Weights of the row.
  package let depth: Int
  /// Room for as many numbers.
  package let target: UnsafeMutablePointer<Float>

  /// Takes the row and the room.
  @unsafe
  package init(
    weights: UnsafeRawPointer, type: WeightType, depth: Int, target: UnsafeMutablePointer<Float>
  ) {
    unsafe self.weights = weights
    self.type = type
    self.depth = depth
    unsafe self.target = target
  }
}
