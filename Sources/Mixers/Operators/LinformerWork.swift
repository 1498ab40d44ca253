import Compute
import Tensors

/// Projected keys and values of one head, and the weights that some queries give them.
@safe
struct LinformerWork: ~Copyable {
  private let rank: Int
  private let d: Int
  private let c: Int
  private let scratch: Scratch
  /// `[rank, headDim]`.
  let keys: StridedMatrix
  /// `[rank, valueHeadDim]`.
  let values: StridedMatrix
  /// `[tokens, rank]`: weights, or the gradients of scores.
  let weights: StridedMatrix
  private let turnedKeys: StridedMatrix
  private let turnedValues: StridedMatrix
  private let products: StridedMatrix

  init(rank: Int, d: Int, c: Int) {
    (self.rank, self.d, self.c) = (rank, d, c)
    var scratch = Scratch(count: 2 * rank * (d + c) + 2 * partOfSums * rank, parts: 6)
    keys = unsafe StridedMatrix(scratch.take(rank * d), row: d)
    values = unsafe StridedMatrix(scratch.take(rank * c), row: c)
    weights = unsafe StridedMatrix(scratch.take(partOfSums * rank), row: rank)
    turnedKeys = unsafe StridedMatrix(scratch.take(rank * d), row: rank)
    turnedValues = unsafe StridedMatrix(scratch.take(rank * c), row: rank)
    products = unsafe StridedMatrix(scratch.take(partOfSums * rank), row: rank)
    self.scratch = scratch
  }

  /// Takes what was projected: `[rank, headDim]`, then `[rank, valueHeadDim]`.
  @unsafe
  func take(_ projected: UnsafeMutablePointer<Float>) {
    unsafe keys.base.update(from: projected, count: rank * d)
    unsafe values.base.update(from: projected + rank * d, count: rank * c)
    keys.transpose(into: turnedKeys, rows: rank, columns: d)
    values.transpose(into: turnedValues, rows: rank, columns: c)
  }

  /// The softmax of some queries' scores.
  ///
  /// - Parameter lse: is told the log-sum-exp of each.
  @unsafe
  func weigh(_ q: StridedMatrix, _ count: Int, _ scale: Float, lse: (Int, Float) -> Void) {
    multiply(q, turnedKeys, into: weights, rows: count, depth: d, columns: rank)
    for row in 0..<count {
      let line = unsafe weights.base + row * rank
      var tops = Vector(repeating: -.infinity)
      let whole = rank / 8 * 8
      for index in stride(from: 0, to: whole, by: 8) {
        tops = unsafe tops.larger(Vector(loading: line, at: index) * scale)
      }
      var top = tops.max()
      for index in whole..<rank { unsafe top = max(top, line[index] * scale) }
      var sum = Vector.zero
      forEachVector(rank) { index in
        let x = unsafe Vector(loading: line, at: index, of: rank)
        let weight = exp((x * scale) - Vector(repeating: top))
        unsafe weight.store(to: line, at: index, of: rank)
        unsafe sum += Vector(loading: line, at: index, of: rank)
      }
      let total = sum.laneSum
      let factor = Vector(repeating: 1 / total)
      forEachVector(rank) { index in
        let x = unsafe Vector(loading: line, at: index, of: rank) * factor
        unsafe x.store(to: line, at: index, of: rank)
      }
      lse(row, top + naturalLogarithm(total))
    }
  }

  /// Makes of weights the gradients of scores, times the scale.
  @unsafe
  func gradients(
    _ gradient: StridedMatrix, _ output: StridedMatrix, _ count: Int, _ scale: Float
  ) {
    multiply(gradient, turnedValues, into: products, rows: count, depth: c, columns: rank)
    for row in 0..<count {
      var both = Vector.zero
      let (g, o) = unsafe (
        gradient.base + row * gradient.row, output.base + row * output.row
      )
      forEachVector(c) { column in
        unsafe both.addProduct(
          Vector(loading: g, at: column, of: c), Vector(loading: o, at: column, of: c))
      }
      let mean = Vector(repeating: both.laneSum)
      let (line, product) = unsafe (weights.base + row * rank, products.base + row * rank)
      forEachVector(rank) { index in
        let weight = unsafe Vector(loading: line, at: index, of: rank)
        let ofScore =
          unsafe weight * (Vector(loading: product, at: index, of: rank) - mean) * scale
        unsafe ofScore.store(to: line, at: index, of: rank)
      }
    }
  }
}
