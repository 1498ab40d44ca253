/// `2^x` for `x ≤ 0`, lane by lane, with `2^(−∞)` exactly 0.
///
/// `x` is split into the nearest integer `n` and `f = x − n` in [−½, ½]; `2^f` is a polynomial of
/// degree 5, and `n` is added to the exponent bits. Adding 1.5·2²³ rounds to the nearest integer
/// and leaves `n` in the low bits of the sum. Results under 2^−126 are flushed to 0.
///
/// The coefficients are the minimax fit of relative error on [−½, ½] with the constant term fixed
/// at 1, so that `exp2(0)` is exactly 1. Relative error is at most 1.6·10⁻⁷ (1.3 ulp).
@inline(__always)
package func exp2(_ x: Vector) -> Vector {
  let roundToNearest = Vector(repeating: 12_582_912)
  let shifted = x + roundToNearest
  let f = x - (shifted - roundToNearest)
  var p = Vector(repeating: 1.327_463_3e-3)
  p = Vector(repeating: 9.671_962e-3).addingProduct(p, f)
  p = Vector(repeating: 5.550_678_4e-2).addingProduct(p, f)
  p = Vector(repeating: 0.240_222_35).addingProduct(p, f)
  p = Vector(repeating: 0.693_147_06).addingProduct(p, f)
  p = Vector(repeating: 1).addingProduct(p, f)
  let exponent =
    unsafe unsafeBitCast(shifted, to: VectorBits.self) &<< VectorBits(repeating: 23)
  let scaled = unsafe unsafeBitCast(
    unsafeBitCast(p, to: VectorBits.self) &+ exponent, to: Vector.self)
  return scaled.replacing(with: Vector(repeating: 0), where: x .< Vector(repeating: -126))
}
