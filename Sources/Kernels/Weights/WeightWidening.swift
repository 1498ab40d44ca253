import Compute

/// Rows of weights become rows of numbers.
@safe
struct WeightWidening: WeightVisitor {
  private let row: UnsafeRawPointer
  private let depth: Int
  private let target: UnsafeMutablePointer<Float>

  init(_ row: StoredRow) {
    unsafe self.row = row.weights
    depth = row.depth
    unsafe target = row.target
  }

  func visit<Form: StoredWeights>(_ form: Form.Type) {
    let weights = unsafe WeightRow<Form>(0, of: row, depth: depth)
    unsafe weights.forEachUnit(0..<weights.units) { unit, numbers in
      let place = unsafe UnsafeMutableRawPointer(target + unit * WeightUnit.length)
      unsafe place.storeBytes(of: numbers.first, as: SIMD16<Float>.self)
      unsafe place.storeBytes(of: numbers.second, toByteOffset: 64, as: SIMD16<Float>.self)
    }
    let rest = unsafe weights.rest
    if rest == 0 { return }
    let last = unsafe weights.lastUnit()
    for index in 0..<rest {
      unsafe target[depth - rest + index] =
        index < 16 ? last.first[index] : last.second[index - 16]
    }
  }
}
