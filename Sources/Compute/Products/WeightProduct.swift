/// Products of rows of activations with matrices of weights that stay as they are stored,
/// `C_m = A · W_mᵀ` or `C_m += A · W_mᵀ` for several matrices `W_m` at once.
///
/// It holds plain addresses: whoever creates it keeps the matrices alive until it has been
/// computed.
@safe
package struct WeightProduct: @unchecked Sendable {
  /// One of the matrices, and where its product goes.
  @safe
  package struct Factor: @unchecked Sendable {
    /// Of all rows, which are whole numbers of blocks, one after the other.
    package let weights: UnsafeRawPointer
    package let type: WeightType
    /// Rows of weights, which are columns of the product.
    package let outputs: Int
    /// Row `r` of the product begins at `r · stride`.
    package let c: UnsafeMutablePointer<Float>
    package let stride: Int

    @unsafe
    package init(
      weights: UnsafeRawPointer, type: WeightType, outputs: Int, c: UnsafeMutablePointer<Float>,
      stride: Int
    ) {
      unsafe self.weights = weights
      self.type = type
      self.outputs = outputs
      unsafe self.c = c
      self.stride = stride
    }
  }

  /// `[rows, depth]`.
  package let a: UnsafePointer<Float>
  package let rows: Int
  /// Numbers of a row of A and weights of a row of each matrix.
  package let depth: Int
  package let factors: [Factor]
  /// Whether what is in C is kept and added to.
  package let adding: Bool
  /// What the products are computed of, the same bits for a row whatever others there are; nil for
  /// `Float` in the order that takes least time for so many rows.
  package let arithmetic: ProductArithmetic?
  /// Room for ``scratchCount(rows:depth:arithmetic:)`` numbers.
  package let scratch: UnsafeMutablePointer<Float>

  @unsafe
  package init(
    a: UnsafePointer<Float>, rows: Int, depth: Int, factors: [Factor], adding: Bool,
    arithmetic: ProductArithmetic?, scratch: UnsafeMutablePointer<Float>
  ) {
    unsafe self.a = a
    self.rows = rows
    self.depth = depth
    self.factors = factors
    self.adding = adding
    self.arithmetic = arithmetic
    unsafe self.scratch = scratch
  }

  /// Rows from which on it takes less time to widen weights to memory once for all of them.
  package static var manyRows: Int { 32 }

  /// Rows up to which each meets the weights as they are stored.
  package static var rowsOneByOne: Int { 3 }

  /// Whether weights are widened to memory once for all rows.
  package static func widensToMemory(rows: Int, arithmetic: ProductArithmetic?) -> Bool {
    rows >= manyRows || arithmetic != nil
  }

  /// Numbers of scratch: A is packed in it, or has the sums of sixteen neighbours each there.
  package static func scratchCount(
    rows: Int, depth: Int, arithmetic: ProductArithmetic?
  ) -> Int {
    // Of bytes up to 32 terms take ten words.
    widensToMemory(rows: rows, arithmetic: arithmetic)
      ? (rows + 5) / 6 * 6 * max(depth, 10) : min(rows, rowsOneByOne) * (depth / 16)
  }
}
