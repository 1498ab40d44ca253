import Compute
import Tensors

/// Projected keys and values of one head, and the weights that some queries give them.
///
/// A score in single precision is off by some 10⁻⁷ of ‖q‖ ‖k̃‖. Where that is not small, those
/// whose weights count are computed again, in double precision.
@safe
struct LinformerWork: ~Copyable {
  private let rank: Int
  private let d: Int
  private let c: Int
  /// What multiplies scores.
  private let scale: Float
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
  /// What floats do not hold of keys.
  private let rest: StridedMatrix
  /// The largest norm of a key, times the scale.
  private var reach: Float = 0

  init(rank: Int, d: Int, c: Int, scale: Float) {
    (self.rank, self.d, self.c, self.scale) = (rank, d, c, scale)
    var scratch = Scratch(count: 3 * rank * d + 2 * rank * c + 2 * partOfSums * rank, parts: 7)
    keys = unsafe StridedMatrix(scratch.take(rank * d), row: d)
    values = unsafe StridedMatrix(scratch.take(rank * c), row: c)
    weights = unsafe StridedMatrix(scratch.take(partOfSums * rank), row: rank)
    turnedKeys = unsafe StridedMatrix(scratch.take(rank * d), row: rank)
    turnedValues = unsafe StridedMatrix(scratch.take(rank * c), row: rank)
    products = unsafe StridedMatrix(scratch.take(partOfSums * rank), row: rank)
    rest = unsafe StridedMatrix(scratch.take(rank * d), row: d)
    self.scratch = scratch
  }

  /// Takes what was projected: `[rank, headDim]`, then `[rank, valueHeadDim]`.
  ///
  /// - Parameter rest: likewise, what floats do not hold of it.
  @unsafe
  mutating func take(_ projected: UnsafeMutablePointer<Float>, rest: UnsafeMutablePointer<Float>) {
    unsafe keys.base.update(from: projected, count: rank * d)
    unsafe self.rest.base.update(from: rest, count: rank * d)
    unsafe values.base.update(from: projected + rank * d, count: rank * c)
    keys.transpose(into: turnedKeys, rows: rank, columns: d)
    values.transpose(into: turnedValues, rows: rank, columns: c)
    reach = abs(scale) * (0..<rank).reduce(0) { unsafe max($0, norm(keys.base + $1 * d)) }
  }

  /// The norm of a query or a key.
  @unsafe
  private func norm(_ row: UnsafeMutablePointer<Float>) -> Float {
    var sum = Vector.zero
    forEachVector(d) { column in
      let x = unsafe Vector(loading: row, at: column, of: d)
      sum.addProduct(x, x)
    }
    return sum.laneSum.squareRoot()
  }

  /// The softmax of some queries' scores.
  ///
  /// - Parameter lse: is told the log-sum-exp of each.
  @unsafe
  func weigh(_ q: StridedMatrix, _ count: Int, lse: (Int, Float) -> Void) {
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
      let query = unsafe q.base + row * q.row
      let size = unsafe reach * norm(query)
      forEachVector(rank) { index in
        let x = unsafe Vector(loading: line, at: index, of: rank) * scale
        unsafe (x - Vector(repeating: top)).store(to: line, at: index, of: rank)
      }
      if size > Self.largest {
        unsafe refine(line, query, top, naturalLogarithm(Self.accuracy * size))
      }
      var sum = Vector.zero
      forEachVector(rank) { index in
        let weight = unsafe exp(Vector(loading: line, at: index, of: rank))
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

  /// Scores that are not larger are as good in single precision.
  private static var largest: Float { 16 }
  /// An error of 10⁻⁷ of a score of size s, at a weight of `1 / (16 s)`, is one of 10⁻⁸.
  private static var accuracy: Float { 16 }

  /// Computes the scores that are not far below the largest again, in double precision.
  ///
  /// - Parameters:
  ///   - line: what is left of scores without `top`.
  ///   - depth: how far below it weights count.
  @unsafe
  private func refine(
    _ line: UnsafeMutablePointer<Float>, _ query: UnsafeMutablePointer<Float>, _ top: Float,
    _ depth: Float
  ) {
    for key in 0..<rank where unsafe line[key] > -depth {
      var score = 0.0
      for column in 0..<d {
        let place = key * d + column
        let number = unsafe Double(keys.base[place]) + Double(rest.base[place])
        score += unsafe Double(query[column]) * number
      }
      unsafe line[key] = Float(score * Double(scale) - Double(top))
    }
  }

  /// Makes of weights the gradients of scores, times the scale.
  @unsafe
  func gradients(
    _ gradient: StridedMatrix, _ output: StridedMatrix, _ count: Int
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
