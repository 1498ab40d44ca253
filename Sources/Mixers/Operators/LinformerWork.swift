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
  /// Keys in double precision, `[rank, paddedToVectors(headDim)]`: 0 past the last column.
  private let exactKeys: AlignedBuffer<Double>
  /// The largest norm of a key, times the scale.
  private var reach: Float = 0

  init(rank: Int, d: Int, c: Int, scale: Float) {
    (self.rank, self.d, self.c, self.scale) = (rank, d, c, scale)
    var scratch = Scratch(count: 2 * rank * d + 2 * rank * c + 2 * partOfSums * rank, parts: 6)
    keys = unsafe StridedMatrix(scratch.take(rank * d), row: d)
    values = unsafe StridedMatrix(scratch.take(rank * c), row: c)
    weights = unsafe StridedMatrix(scratch.take(partOfSums * rank), row: rank)
    turnedKeys = unsafe StridedMatrix(scratch.take(rank * d), row: rank)
    turnedValues = unsafe StridedMatrix(scratch.take(rank * c), row: rank)
    products = unsafe StridedMatrix(scratch.take(partOfSums * rank), row: rank)
    exactKeys = AlignedBuffer(zeros: rank * paddedToVectors(d))
    self.scratch = scratch
  }

  /// Takes what was projected: `[rank, headDim]`, then `[rank, valueHeadDim]`.
  ///
  /// - Parameter rest: likewise, what floats do not hold of it.
  @unsafe
  mutating func take(_ projected: UnsafeMutablePointer<Float>, rest: UnsafeMutablePointer<Float>) {
    unsafe keys.base.update(from: projected, count: rank * d)
    for key in 0..<rank {
      let row = unsafe exactKeys.unsafeBaseAddress + key * paddedToVectors(d)
      for column in 0..<d {
        let place = key * d + column
        unsafe row[column] = Double(projected[place]) + Double(rest[place])
      }
    }
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
  func weigh(_ q: StridedMatrix, _ count: Int, lse: ((Int, Float) -> Void)? = nil) {
    multiply(q, turnedKeys, into: weights, rows: count, depth: d, columns: rank)
    for row in 0..<count {
      let (line, query) = unsafe (weights.base + row * rank, q.base + row * q.row)
      let top = unsafe subtractLargest(line, of: query)
      var sum = Vector.zero
      forEachVector(rank) { index in
        let weight = unsafe exp(Vector(loading: line, at: index, of: rank))
        unsafe weight.store(to: line, at: index, of: rank)
        sum += unsafe index + 8 <= rank ? weight : Vector(loading: line, at: index, of: rank)
      }
      let total = sum.laneSum
      let factor = Vector(repeating: 1 / total)
      forEachVector(rank) { index in
        let x = unsafe Vector(loading: line, at: index, of: rank) * factor
        unsafe x.store(to: line, at: index, of: rank)
      }
      lse?(row, top + naturalLogarithm(total))
    }
  }

  /// Scores that are not larger are as good in single precision.
  private static var largest: Float { 16 }

  /// Makes of the products of a query what its scores are without the largest: where they may be
  /// large and several count, in double precision.
  ///
  /// An error of 10⁻⁷ of a score of size s, at a weight of `1 / (s √rank)`, is one of 10⁻⁷ / √rank,
  /// and of as many scores in any directions one of 10⁻⁷. The largest is as far from itself in any
  /// precision.
  ///
  /// - Returns: the largest.
  @unsafe @inline(__always)
  private func subtractLargest(
    _ line: UnsafeMutablePointer<Float>, of query: UnsafeMutablePointer<Float>
  ) -> Float {
    var tops = Vector(repeating: -.infinity)
    let whole = rank / 8 * 8
    for index in stride(from: 0, to: whole, by: 8) {
      tops = unsafe tops.larger(Vector(loading: line, at: index) * scale)
    }
    var top = tops.max()
    for index in whole..<rank { unsafe top = max(top, line[index] * scale) }
    let size = unsafe reach * norm(query)
    // At least the logarithm of s √rank, so far below the largest weights count.
    let least = -Float((size * size * Float(rank)).exponent + 1) * 0.3466
    let (lowest, largest) = (Vector(repeating: least), Vector(repeating: top))
    var counting = SIMD8<Int32>.zero
    forEachVector(rank) { index in
      let x = unsafe Vector(loading: line, at: index, of: rank) * scale - largest
      unsafe x.store(to: line, at: index, of: rank)
      counting = unsafe counting &- unsafeBitCast(x .> lowest, to: SIMD8<Int32>.self)
    }
    // Past the last score there are zeros less the largest.
    let beyond = -top > least ? paddedToVectors(rank) - rank : 0
    let (half, isLarge) = (counting.lowHalf &+ counting.highHalf, size > Self.largest)
    let quarter = half.lowHalf &+ half.highHalf
    if isLarge, Int(quarter[0] &+ quarter[1]) > 1 + beyond {
      for key in 0..<rank where unsafe line[key] > least {
        let score = unsafe exactProduct(query, key: key) * Double(scale)
        unsafe line[key] = Float(score - Double(top))
      }
    }
    return top
  }

  /// The product of a query and a key in double precision.
  @unsafe @inline(__always)
  private func exactProduct(_ query: UnsafeMutablePointer<Float>, key: Int) -> Double {
    let row = unsafe UnsafeRawPointer(exactKeys.unsafeBaseAddress + key * paddedToVectors(d))
    var sum = SIMD8<Double>.zero
    forEachVector(d) { column in
      let x = unsafe Vector(loading: query, at: column, of: d).doubles
      let y = unsafe row.loadUnaligned(fromByteOffset: 8 * column, as: SIMD8<Double>.self)
      sum = sum.addingProduct(x, y)
    }
    let half = sum.lowHalf + sum.highHalf
    let quarter = half.lowHalf + half.highHalf
    return quarter[0] + quarter[1]
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
