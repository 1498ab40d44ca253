import AttentionReference
import Compute
import MPI
import Tensors

/// Attention without a softmax: queries and keys are divided by the sum of their magnitudes over
/// all tokens, column by column, and `o = q̂ (k̂ᵀ v)`.
///
/// A rank adds up `Σ|q|`, `Σ|k|` and `kᵀ v`, which is divided by the sums afterwards, so that one
/// reduction of `2 · heads · headDim + heads · headDim · valueHeadDim` numbers of a sequence is all
/// that travels; backward one of `heads · headDim · valueHeadDim`. Any layout is as good.
///
/// Source: Koohpayegani and Pirsiavash 2022, SimA: Simple Softmax-free Attention for Vision
/// Transformers.
struct SimA: HeadMixer {
  static let name = "sima"
  static let summary = "attention with queries and keys divided by their sums over tokens"
  static let demands = headTensors
  static let options: Set<MixerOption> = []

  let sizes: MixerSizes
  var isInOrder: Bool { false }

  /// Sums below it count as it.
  static let leastNorm: Float = 1e-12

  init(
    _ sizes: MixerSizes, present: Set<String>, options: MixerOptions
  ) throws(MixerError) {
    self.sizes = sizes
    heads = sizes["heads"]
    d = sizes["headDim"]
    c = sizes["valueHeadDim"]
  }

  var inputs: [TensorForm] { Self.forms(sizes, present: []) }
  var outputs: [TensorForm] {
    [Self.demands[2].form(sizes, named: "o")]
  }
  func exchanges(backward: Bool, ranks: Int, threads: Int) -> [MixerExchange]? {
    [.summary(floats: units * (d * c + (backward ? 0 : 2 * d)))]
  }
  var flopsPerToken: (forward: Double, backward: Double) {
    let products = Double(2 * heads * d * c)
    return (2 * products, 5 * products)
  }

  private let heads: Int
  /// Columns of queries and of values.
  private let d: Int
  private let c: Int
  private var units: Int { batch * heads }
  /// `[units, d, c]` and, after it, `[units, 2, d]`.
  private func sumForm(_ name: String, norms: Bool) -> TensorForm {
    TensorForm(
      name: name, dimensions: ["units", "sums"], sizes: [units, d * c + (norms ? 2 * d : 0)])
  }

  func forward(
    _ x: MixerTensors, keeping: Bool, on line: RankLine
  ) throws(MPIError) -> MixerResult {
    var result = MixerResult()
    let sums = MixerTensor(zeros: sumForm("sums", norms: true), tokens: 0)
    let o = result.outputs.addZeros(outputs[0], tokens: line.tokens)
    let (q, k, v) = (x["q"], x["k"], x["v"])
    let count = line.tokens
    unsafe line.addUp(units: units, to: sums) { unit, tokens, total, poll in
      let (first, length) = (tokens.lowerBound, tokens.count)
      let (q, k) = (
        rows(q, unit, count).part(row: first), rows(k, unit, count).part(row: first)
      )
      let v = rows(v, unit, count).part(row: first)
      unsafe addProducts(k, v, length, rows: d, columns: c, to: total, poll)
      unsafe addMagnitudes(q, length, to: total + d * c)
      unsafe addMagnitudes(k, length, to: total + d * c + d)
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
    let products = MixerTensor(zeros: sumForm("products", norms: false), tokens: 0)
    let count = line.tokens
    unsafe line.addUp(units: units, to: products) { unit, tokens, total, poll in
      let first = tokens.lowerBound
      unsafe addProducts(
        rows(q, unit, count).part(row: first), rows(gradient, unit, count).part(row: first),
        tokens.count, rows: d, columns: c, to: total, poll)
    }
    try Summary.sum.combine(products, on: line)
    line.forEachSegment(units: units) { unit, tokens, poll in
      let parts = [q, k, v, gradient, dq, dk, dv].map {
        rows($0, unit, count).part(row: tokens.lowerBound)
      }
      unsafe self.gradients(of: unit, tokens.count, sums, products.base + unit * d * c, parts)
      poll()
    }
    return gradients
  }

  /// The gradients of some tokens of one head, from `qᵀ do` over all tokens.
  ///
  /// - Parameter parts: q, k, v, do, dq, dk, dv.
  ///
  /// The sum over tokens of `dq̂ ∘ q̂`, which the derivative of the norm needs, is that over columns
  /// of `k̂ᵀv ∘ q̂ᵀdo`, and the same for keys: no second reduction.
  @unsafe
  private func gradients(
    of unit: Int, _ count: Int, _ sums: MixerTensor, _ product: UnsafeMutablePointer<Float>,
    _ parts: [StridedMatrix]
  ) {
    let (q, k, v, o) = (parts[0], parts[1], parts[2], parts[3])
    let (dq, dk, dv) = (parts[4], parts[5], parts[6])
    var scratch = Scratch(count: 2 * d * c + 2 * d, parts: 4)
    let w = unsafe scratch.take(d * c)
    let turned = unsafe scratch.take(d * c)
    let (ofQueries, ofKeys) = unsafe (scratch.take(d), scratch.take(d))
    let norms = unsafe sums.base + unit * (d * c + 2 * d) + d * c
    // dv = k̂ q̂ᵀdo, and dk = v (q̂ᵀdo)ᵀ / ‖k‖ less what the norm takes.
    for row in 0..<d {
      let scale = unsafe 1 / (norm(norms[row]) * norm(norms[d + row]))
      var both: Float = 0
      for column in 0..<c {
        unsafe w[row * c + column] = product[row * c + column] * scale
        both += unsafe w[row * c + column] * (norms - d * c)[row * c + column]
      }
      unsafe ofQueries[row] = norms[row] < Self.leastNorm ? 0 : both / norm(norms[row])
      unsafe ofKeys[row] = norms[d + row] < Self.leastNorm ? 0 : both / norm(norms[d + row])
    }
    unsafe multiply(k, StridedMatrix(w, row: c), into: dv, rows: count, depth: d, columns: c)
    unsafe turn(w, into: turned)
    unsafe multiply(v, StridedMatrix(turned, row: d), into: dk, rows: count, depth: c, columns: d)
    unsafe subtractSigns(k, ofKeys, count, from: dk)
    // dq = do (k̂ᵀv)ᵀ / ‖q‖, likewise.
    unsafe weights(sums, unit, into: w)
    unsafe turn(w, into: turned)
    unsafe multiply(o, StridedMatrix(turned, row: d), into: dq, rows: count, depth: c, columns: d)
    unsafe subtractSigns(q, ofQueries, count, from: dq)
  }

  func reference(_ inputs: [String: [Double]]) -> [String: [Double]] {
    guard let q = inputs["q"], let k = inputs["k"], let v = inputs["v"] else { return [:] }
    return ["o": referenceSimA(q: q, k: k, v: v, headDim: d)]
  }

  // MARK: Loops

  private func norm(_ sum: Float) -> Float { max(sum, Self.leastNorm) }

  /// `kᵀ v` of all tokens, divided by the sums.
  @unsafe
  private func weights(
    _ sums: MixerTensor, _ unit: Int, into w: UnsafeMutablePointer<Float>
  ) {
    let product = unsafe sums.base + unit * (d * c + 2 * d)
    let norms = unsafe product + d * c
    for row in 0..<d {
      let scale = unsafe 1 / (norm(norms[row]) * norm(norms[d + row]))
      for column in 0..<c { unsafe w[row * c + column] = product[row * c + column] * scale }
    }
  }

  /// `[d, c]` with its rows for columns.
  @unsafe
  private func turn(
    _ w: UnsafeMutablePointer<Float>, into turned: UnsafeMutablePointer<Float>
  ) {
    for row in 0..<d {
      for column in 0..<c { unsafe turned[column * d + row] = w[row * c + column] }
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

  /// The rows of one head of a tensor `[batch, tokens, heads, columns]`.
  private func rows(_ tensor: MixerTensor, _ unit: Int, _ count: Int) -> StridedMatrix {
    unsafe headRows(tensor, unit, heads: heads, tokens: count)
  }
}
