/// `e^x`, lane by lane, of numbers of any size: over 88 it is the largest power of two that there
/// is room for, under −87 it is 0 or nearly so.
///
/// `x · log₂e` is split into the nearest integer `n` and `f` in [−½, ½]; `2^f` is a polynomial of
/// degree 5, and `n` is added to the exponent bits. The relative error is at most 3·10⁻⁷ where
/// `|x|` is below 10, and grows with `|x|` as the rounding of `x · log₂e` does.
@inlinable @inline(__always)
public func exp(_ x: Vector) -> Vector {
  let upper = Vector(repeating: 126)
  let lower = Vector(repeating: -126)
  var y = x * Vector(repeating: 1.442_695_04)
  y = y.replacing(with: upper, where: .!(y .< upper))
  y = y.replacing(with: lower, where: y .< lower)
  // Adding 1.5·2²³ rounds to the nearest integer, and leaves it in the low bits.
  let roundToNearest = Vector(repeating: 12_582_912)
  let shifted = y + roundToNearest
  let f = y - (shifted - roundToNearest)
  var p = Vector(repeating: 1.327_463_3e-3)
  p = Vector(repeating: 9.671_962e-3).addingProduct(p, f)
  p = Vector(repeating: 5.550_678_4e-2).addingProduct(p, f)
  p = Vector(repeating: 0.240_222_35).addingProduct(p, f)
  p = Vector(repeating: 0.693_147_06).addingProduct(p, f)
  p = Vector(repeating: 1).addingProduct(p, f)
  let exponent =
    unsafe unsafeBitCast(shifted, to: SIMD8<UInt32>.self) &<< SIMD8<UInt32>(repeating: 23)
  return unsafe unsafeBitCast(
    unsafeBitCast(p, to: SIMD8<UInt32>.self) &+ exponent, to: Vector.self)
}
