/// A product of matrices, `C = A · B` or `C += A · B`, with B in panels.
///
/// It holds plain addresses: whoever creates it keeps the matrices alive until it has been
/// computed.
@safe
package struct ProductWork: @unchecked Sendable {
  /// `[rows, depth]`.
  package let a: UnsafePointer<Float>
  /// `[⌈columns / W⌉][depth][W]`, W as wide as the kernels want it.
  package let b: UnsafePointer<Float>
  /// `[rows, columns]`.
  package let c: UnsafeMutablePointer<Float>
  package let rows: Int
  package let depth: Int
  package let columns: Int
  /// Whether what is in C is kept and added to.
  package let adding: Bool

  /// Takes the matrices.
  @unsafe
  package init(
    a: UnsafePointer<Float>, b: UnsafePointer<Float>, c: UnsafeMutablePointer<Float>, rows: Int,
    depth: Int, columns: Int, adding: Bool
  ) {
    unsafe self.a = a
    unsafe self.b = b
    unsafe self.c = c
    self.rows = rows
    self.depth = depth
    self.columns = columns
    self.adding = adding
  }
}
