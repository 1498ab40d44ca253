import AttentionReference
import Compute
import MPI
import Tensors

/// Attention without a softmax: queries and keys are divided by the sum of their magnitudes over
/// all tokens, column by column, and `o = q̂ (k̂ᵀ v)`.
///
/// A rank adds up `Σ|q|`, `Σ|k|` and `kᵀ v`, which is divided by the sums afterwards, so that one
/// reduction of `headDim (heads + kvHeads + kvHeads · valueHeadDim)` numbers of a sequence is all
/// that travels; backward one of `heads · headDim · valueHeadDim`. Any layout is as good.
///
/// Source: Koohpayegani and Pirsiavash 2022, SimA: Simple Softmax-free Attention for Vision
/// Transformers.
struct SimA: HeadMixer {
  static let name = "sima"
  static let summary = "attention with queries and keys divided by their sums over tokens"
  static let demands = groupedTensors
  static let furtherRandomDimensions = groupedRandomDimensions
  static let options: Set<MixerOption> = []

  let sizes: MixerSizes
  var isInOrder: Bool { false }

  /// Sums below it count as it.
  static let leastNorm: Float = 1e-12

  init(
    _ sizes: MixerSizes, present: Set<String>, options: MixerOptions
  ) throws(MixerError) {
    try Self.checkGroups(sizes)
    self.sizes = sizes
    heads = sizes["heads"]
    kvHeads = sizes["kvHeads"]
    d = sizes["headDim"]
    c = sizes["valueHeadDim"]
  }

  var inputs: [TensorForm] { Self.forms(sizes, present: []) }
  var outputs: [TensorForm] { [headOutput] }
  func exchanges(backward: Bool, ranks: Int, threads: Int) -> [MixerExchange] {
    [.summary(floats: backward ? units * d * c : kvUnits * length)]
  }
  var flopsPerToken: (forward: Double, backward: Double) {
    let (all, shared) = (Double(2 * heads * d * c), Double(2 * kvHeads * d * c))
    return (all + shared, 2 * all + 3 * shared)
  }

  private let heads: Int
  /// Heads of keys and values, and how many query heads share each.
  private let kvHeads: Int
  private var group: Int { heads / kvHeads }
  /// Columns of queries and of values.
  private let d: Int
  private let c: Int
  private var units: Int { batch * heads }
  /// Heads of keys and values of all sequences.
  private var kvUnits: Int { batch * kvHeads }
  /// Of a head of keys and values: `[d, c]`, norms of keys, and norms of the queries that share it.
  private var length: Int { d * c + d + group * d }

  private func numbers(_ name: String, _ units: Int, _ length: Int) -> MixerTensor {
    MixerTensor(
      zeros: TensorForm(name: name, dimensions: ["units", "sums"], sizes: [units, length]),
      tokens: 0)
  }

  func forward(
    _ x: MixerTensors, keeping: Bool, on line: RankLine
  ) throws(MPIError) -> MixerResult {
    var result = MixerResult()
    let sums = numbers("sums", kvUnits, length)
    let o = result.outputs.addZeros(outputs[0], tokens: line.tokens)
    let (q, k, v) = (x["q"], x["k"], x["v"])
    let count = line.tokens
    unsafe line.addUp(units: kvUnits, to: sums) { kvUnit, tokens, total, poll in
      let (first, length) = (tokens.lowerBound, tokens.count)
      let (k, v) = (
        sharedRows(k, kvUnit, count).part(row: first), sharedRows(v, kvUnit, count).part(row: first)
      )
      unsafe addProducts(k, v, length, rows: d, columns: c, to: total, poll)
      unsafe addMagnitudes(k, length, to: total + d * c)
      for member in 0..<group {
        unsafe addMagnitudes(
          rows(q, kvUnit * group + member, count).part(row: first), length,
          to: total + d * c + (1 + member) * d)
      }
    }
    try Summary.sum.combine(sums, on: line)
    line.forEachSegment(units: units) { unit, tokens, poll in
      var scratch = Scratch(count: d * c, parts: 1)
      let w = unsafe scratch.take(d * c)
      unsafe weights(sums, unit, into: w)
      let first = tokens.lowerBound
      unsafe multiply(
        rows(q, unit, count).part(row: first), StridedMatrix(w, row: c),
        into: rows(o, unit, count).part(row: first), rows: tokens.count, depth: d, columns: c)
      poll()
    }
    result.kept.add(sums)
    return result
  }

  func backward(
    _ x: MixerTensors, _ result: MixerResult, gradient: MixerTensor, on line: RankLine
  ) throws(MPIError) -> MixerTensors {
    var gradients = MixerTensors()
    let (q, k, v) = (x["q"], x["k"], x["v"])
    let (dq, dk, dv) = (
      gradients.addZeros(inputs[0].named("dq"), tokens: line.tokens),
      gradients.addZeros(inputs[1].named("dk"), tokens: line.tokens),
      gradients.addZeros(inputs[2].named("dv"), tokens: line.tokens)
    )
    let sums = result.kept["sums"]
    let products = numbers("products", units, d * c)
    let count = line.tokens
    unsafe line.addUp(units: units, to: products) { unit, tokens, total, poll in
      let first = tokens.lowerBound
      unsafe addProducts(
        rows(q, unit, count).part(row: first), rows(gradient, unit, count).part(row: first),
        tokens.count, rows: d, columns: c, to: total, poll)
    }
    try Summary.sum.combine(products, on: line)
    line.forEachSegment(units: units) { unit, tokens, poll in
      let parts = [q, gradient, dq].map { rows($0, unit, count).part(row: tokens.lowerBound) }
      unsafe queryGradients(unit, tokens.count, sums, products.base + unit * d * c, parts)
      poll()
    }
    line.forEachSegment(units: kvUnits) { kvUnit, tokens, poll in
      let parts = [k, v, dk, dv].map {
        sharedRows($0, kvUnit, count).part(row: tokens.lowerBound)
      }
      unsafe keyGradients(kvUnit, tokens.count, sums, products.base + kvUnit * group * d * c, parts)
      poll()
    }
    return gradients
  }

  /// The gradients of some tokens of one head of queries, from `qᵀ do` over all tokens.
  ///
  /// - Parameter parts: q, do, dq.
  ///
  /// The sum over tokens of `dq̂ ∘ q̂`, which the derivative of the norm needs, is that over
  /// columns of `k̂ᵀv ∘ q̂ᵀdo`, and the same for keys: no second reduction.
  @unsafe
  private func queryGradients(
    _ unit: Int, _ count: Int, _ sums: MixerTensor, _ product: UnsafeMutablePointer<Float>,
    _ parts: [StridedMatrix]
  ) {
    let (q, o, dq) = (parts[0], parts[1], parts[2])
    var scratch = Scratch(count: 2 * d * c + d, parts: 3)
    let (w, turned) = unsafe (scratch.take(d * c), scratch.take(d * c))
    let ofQueries = unsafe scratch.take(d)
    let norms = unsafe queryNorms(sums, unit)
    // dq = do (k̂ᵀv)ᵀ / ‖q‖ less what the norm takes.
    unsafe weights(sums, unit, into: w)
    for row in 0..<d {
      var both: Float = 0
      for column in 0..<c { both += unsafe w[row * c + column] * product[row * c + column] }
      unsafe ofQueries[row] = norms[row] < Self.leastNorm ? 0 : both / norm(norms[row])
    }
    unsafe StridedMatrix(w, row: c).transpose(
      into: StridedMatrix(turned, row: d), rows: d, columns: c)
    unsafe multiply(o, StridedMatrix(turned, row: d), into: dq, rows: count, depth: c, columns: d)
    unsafe subtractSigns(q, ofQueries, count, from: dq)
  }

  /// The gradients of some tokens of one head of keys and values, from `qᵀ do` of the heads of
  /// queries that share it.
  ///
  /// - Parameter parts: k, v, dk, dv.
  @unsafe
  private func keyGradients(
    _ kvUnit: Int, _ count: Int, _ sums: MixerTensor, _ products: UnsafeMutablePointer<Float>,
    _ parts: [StridedMatrix]
  ) {
    let (k, v, dk, dv) = (parts[0], parts[1], parts[2], parts[3])
    var scratch = Scratch(count: 2 * d * c + d, parts: 3)
    let (w, turned) = unsafe (scratch.take(d * c), scratch.take(d * c))
    let ofKeys = unsafe scratch.take(d)
    let product = unsafe sums.base + kvUnit * length
    let norms = unsafe product + d * c
    // dv = k̂ Σ q̂ᵀdo, and dk = v (Σ q̂ᵀdo)ᵀ / ‖k‖ less what the norm takes.
    for row in 0..<d {
      var both: Float = 0
      for column in 0..<c {
        var sum: Float = 0
        for member in 0..<group {
          let own = unsafe queryNorms(sums, kvUnit * group + member)[row]
          sum += unsafe products[(member * d + row) * c + column] / norm(own)
        }
        unsafe w[row * c + column] = sum / norm(norms[row])
        both += unsafe w[row * c + column] * product[row * c + column]
      }
      unsafe ofKeys[row] = norms[row] < Self.leastNorm ? 0 : both / norm(norms[row])
    }
    unsafe multiply(k, StridedMatrix(w, row: c), into: dv, rows: count, depth: d, columns: c)
    unsafe StridedMatrix(w, row: c).transpose(
      into: StridedMatrix(turned, row: d), rows: d, columns: c)
    unsafe multiply(v, StridedMatrix(turned, row: d), into: dk, rows: count, depth: c, columns: d)
    unsafe subtractSigns(k, ofKeys, count, from: dk)
  }

  func reference(_ inputs: [String: [Double]]) -> [String: [Double]] {
    guard let q = inputs["q"], let k = inputs["k"], let v = inputs["v"] else { return [:] }
    return ["o": referenceSimA(q: q, k: k, v: v, headDim: d)]
  }

  // MARK: Loops

  private func norm(_ sum: Float) -> Float { max(sum, Self.leastNorm) }

  /// The norms of the columns of a head of queries.
  @unsafe
  private func queryNorms(_ sums: MixerTensor, _ unit: Int) -> UnsafeMutablePointer<Float> {
    let (kvUnit, member) = unit.quotientAndRemainder(dividingBy: group)
    return unsafe sums.base + kvUnit * length + d * c + (1 + member) * d
  }

  /// `kᵀ v` of all tokens, divided by the sums.
  @unsafe
  private func weights(
    _ sums: MixerTensor, _ unit: Int, into w: UnsafeMutablePointer<Float>
  ) {
    let product = unsafe sums.base + unit / group * length
    let (keys, queries) = unsafe (product + d * c, queryNorms(sums, unit))
    for row in 0..<d {
      let scale = unsafe 1 / (norm(queries[row]) * norm(keys[row]))
      for column in 0..<c { unsafe w[row * c + column] = product[row * c + column] * scale }
    }
  }

  /// `Σ|a|`, column by column, in parts.
  @unsafe
  private func addMagnitudes(
    _ a: StridedMatrix, _ count: Int, to total: UnsafeMutablePointer<Double>
  ) {
    forEachVector(d) { column in
      for start in Swift.stride(from: 0, to: count, by: partOfSums) {
        var sum = Vector.zero
        for token in start..<min(start + partOfSums, count) {
          sum += unsafe Vector(loading: a.base + token * a.row, at: column, of: d).magnitude
        }
        for lane in 0..<min(8, d - column) { unsafe total[column + lane] += Double(sum[lane]) }
      }
    }
  }

  /// `da − sign(a) t`.
  @unsafe
  private func subtractSigns(
    _ a: StridedMatrix, _ t: UnsafeMutablePointer<Float>, _ count: Int, from da: StridedMatrix
  ) {
    for token in 0..<count {
      let (row, target) = unsafe (a.base + token * a.row, da.base + token * da.row)
      forEachVector(d) { column in
        let x = unsafe Vector(loading: row, at: column, of: d)
        let norm = unsafe Vector(loading: t, at: column, of: d)
        var sign = Vector.zero.replacing(with: norm, where: x .> .zero)
        sign = sign.replacing(with: -norm, where: x .< .zero)
        let gradient = unsafe Vector(loading: target, at: column, of: d) - sign
        unsafe gradient.store(to: target, at: column, of: d)
      }
    }
  }

  /// The rows of one head of keys and values.
  private func sharedRows(_ tensor: MixerTensor, _ unit: Int, _ count: Int) -> StridedMatrix {
    unsafe headRows(tensor, unit, heads: kvHeads, tokens: count)
  }

  /// The rows of one head of a tensor `[batch, tokens, heads, columns]`.
  private func rows(_ tensor: MixerTensor, _ unit: Int, _ count: Int) -> StridedMatrix {
    unsafe headRows(tensor, unit, heads: heads, tokens: count)
  }
}
