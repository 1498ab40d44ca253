import AttentionReference
import Compute
import MPI
import Tensors

/// Linformer: keys and values of all tokens are projected to a few, `K̃ = Eᵀ K` and `Ṽ = Fᵀ V`, and
/// each query attends to these: `o = softmax(scale · q K̃ᵀ) Ṽ`.
///
/// A sum of `rank · (headDim + valueHeadDim)` numbers a head of keys and values travels, to the
/// digits of two floats; backward of one. Any layout is as good. It has no causal form: each
/// projected key mixes all tokens.
///
/// Scores grow with the root of the tokens, unless a model has learned otherwise, and a softmax
/// makes of their last digit a factor. So keys are projected in double precision, and the scores
/// that count are computed from what two floats hold of these.
///
/// Source: Wang et al. 2020, Linformer: Self-Attention with Linear Complexity.
struct Linformer: HeadMixer {
  static let name = "linformer"
  static let summary = "attention over a few projections of all keys and values"
  static let demands =
    groupedTensors
    + ["e", "f"].map {
      TensorDemand($0, "tokens rank", or: "kvHeads tokens rank", filling: .weight)
    }
  static let randomDimensions = ["batch", "tokens", "heads", "headDim", "rank"]
  static let furtherRandomDimensions = groupedRandomDimensions
  static let options: Set<MixerOption> = [.scale]

  let sizes: MixerSizes
  let scale: Float

  init(_ sizes: MixerSizes, present: Set<String>, options: MixerOptions) throws(MixerError) {
    try Self.checkGroups(sizes)
    self.sizes = sizes
    heads = sizes["heads"]
    kvHeads = sizes["kvHeads"]
    rank = sizes["rank"]
    d = sizes["headDim"]
    c = sizes["valueHeadDim"]
    scale = Float(options.scale ?? 1 / Double(sizes["headDim"]).squareRoot())
  }

  var inputs: [TensorForm] { Self.forms(sizes, present: []) }
  var outputs: [TensorForm] {
    [
      headOutput,
      TensorForm(
        name: "lse", dimensions: ["batch", "heads", "tokens"], sizes: [batch, heads, tokens]),
    ]
  }
  var isInOrder: Bool { false }
  func exchanges(backward: Bool, ranks: Int, threads: Int) -> [MixerExchange] {
    let sum = MixerExchange.summary(floats: kvUnits * length)
    return backward ? [sum] : [sum, sum]
  }
  var flopsPerToken: (forward: Double, backward: Double) {
    let products = Double(2 * rank * (d + c))
    let (all, shared) = (Double(heads) * products, Double(kvHeads) * products)
    return (all + shared, 3 * all + 2 * shared)
  }

  private let heads: Int
  /// Heads of keys and values.
  private let kvHeads: Int
  private let rank: Int
  /// Columns of queries and keys, and of values.
  private let d: Int
  private let c: Int
  private var units: Int { batch * heads }
  /// Heads of keys and values of all sequences.
  private var kvUnits: Int { batch * kvHeads }
  private var length: Int { rank * (d + c) }

  /// `[units, rank · headDim + rank · valueHeadDim]`, of keys and values.
  private func projectedForm(_ name: String) -> TensorForm {
    TensorForm(name: name, dimensions: ["units", "projected"], sizes: [kvUnits, length])
  }

  /// The rows of a projection that a head of keys and values has from a token on; of all heads the
  /// same, unless it is given for each.
  private func projection(_ weights: MixerTensor, _ unit: Int, _ first: Int, _ count: Int)
    -> StridedMatrix
  {
    let head = weights.form.dimensions.count == 3 ? unit % kvHeads : 0
    return unsafe StridedMatrix(weights.base + (head * count + first) * rank, row: rank)
  }

  func forward(
    _ x: MixerTensors, keeping: Bool, on line: RankLine
  ) throws(MPIError) -> MixerResult {
    var result = MixerResult()
    let o = result.outputs.addZeros(outputs[0], tokens: line.tokens)
    let lse = result.outputs.addZeros(outputs[1], tokens: line.tokens)
    let projected = MixerTensor(zeros: projectedForm("projected"), tokens: 0)
    let rest = MixerTensor(zeros: projectedForm("rest"), tokens: 0)
    let count = line.tokens
    unsafe line.addUp(units: kvUnits, to: projected, rest: rest) { unit, tokens, total, poll in
      let first = tokens.lowerBound
      unsafe addDoubleProducts(
        projection(x["e"], unit, first, count),
        headRows(x["k"], unit, heads: kvHeads, tokens: count).part(row: first), tokens.count,
        rows: rank, columns: d, to: total, poll)
      unsafe addProducts(
        projection(x["f"], unit, first, count),
        headRows(x["v"], unit, heads: kvHeads, tokens: count).part(row: first), tokens.count,
        rows: rank, columns: c, to: total + rank * d, poll)
    }
    try Summary.addUp(projected, rest: rest, on: line)
    line.forEachSegment(units: units) { unit, tokens, poll in
      var work = LinformerWork(rank: rank, d: d, c: c, scale: scale)
      let place = unit * kvHeads / heads * length
      unsafe work.take(projected.base + place, rest: rest.base + place)
      let (q, o) = unsafe (
        headRows(x["q"], unit, heads: heads, tokens: count),
        headRows(o, unit, heads: heads, tokens: count)
      )
      forEachPart(tokens) { part in
        unsafe work.weigh(q.part(row: part.lowerBound), part.count) { row, number in
          unsafe lse.base[unit * count + part.lowerBound + row] = number
        }
        multiply(
          work.weights, work.values, into: o.part(row: part.lowerBound), rows: part.count,
          depth: rank, columns: c)
        poll()
      }
    }
    result.kept.add(projected)
    result.kept.add(rest)
    return result
  }

  func backward(
    _ x: MixerTensors, _ result: MixerResult, gradient: MixerTensor, on line: RankLine
  ) throws(MPIError) -> MixerTensors {
    let gradients = zeroGradients(on: line)
    let (projected, rest) = (result.kept["projected"], result.kept["rest"])
    let ofProjected = MixerTensor(zeros: projectedForm("gradients"), tokens: 0)
    let count = line.tokens
    let dq = gradients["dq"]
    unsafe line.addUp(units: kvUnits, to: ofProjected) { kvUnit, tokens, total, poll in
      var work = LinformerWork(rank: rank, d: d, c: c, scale: scale)
      unsafe work.take(projected.base + kvUnit * length, rest: rest.base + kvUnit * length)
      var scratch = Scratch(count: partOfSums * (d + 2 * c), parts: 3)
      let queries = unsafe StridedMatrix(scratch.take(partOfSums * d), row: d)
      let outputs = unsafe StridedMatrix(scratch.take(partOfSums * c), row: c)
      let ofOutputs = unsafe StridedMatrix(scratch.take(partOfSums * c), row: c)
      for unit in kvUnit * heads / kvHeads..<(kvUnit + 1) * heads / kvHeads {
        let rows = [x["q"], gradient, result.outputs["o"], dq].map {
          unsafe headRows($0, unit, heads: heads, tokens: count)
        }
        forEachPart(tokens) { part in
          let own = rows.map { $0.part(row: part.lowerBound) }
          // Read once and line by line, and met by four products.
          own[0].copy(to: queries, rows: part.count, columns: d)
          own[1].copy(to: ofOutputs, rows: part.count, columns: c)
          own[2].copy(to: outputs, rows: part.count, columns: c)
          unsafe work.weigh(queries, part.count)
          unsafe addProducts(
            work.weights, ofOutputs, part.count, rows: rank, columns: c, to: total + rank * d, poll)
          unsafe work.gradients(ofOutputs, outputs, part.count)
          multiply(
            work.weights, work.keys, into: own[3], rows: part.count, depth: rank, columns: d)
          unsafe addProducts(
            work.weights, queries, part.count, rows: rank, columns: d, to: total, poll)
        }
      }
    }
    try Summary.sum.combine(ofProjected, on: line)
    // Weights have a gradient from every head: a segment of all heads is one piece of work.
    line.forEachSegment(units: 1) { [gradients] _, tokens, poll in
      for unit in 0..<kvUnits {
        unsafe self.project(
          x, gradients, unit, tokens, count, ofProjected.base + unit * length)
        poll()
      }
    }
    return gradients
  }

  /// The gradients of keys, values and both projections of some tokens, from those of what was
  /// projected.
  @unsafe
  private func project(
    _ x: MixerTensors, _ gradients: MixerTensors, _ unit: Int, _ tokens: Range<Int>, _ count: Int,
    _ projected: UnsafeMutablePointer<Float>
  ) {
    let first = tokens.lowerBound
    for (weights, rows, width, place) in [("e", "k", d, 0), ("f", "v", c, rank * d)] {
      let p = unsafe StridedMatrix(projected + place, row: width)
      let w = projection(x[weights], unit, first, count)
      let own = unsafe headRows(x[rows], unit, heads: kvHeads, tokens: count).part(row: first)
      let target = unsafe headRows(gradients["d\(rows)"], unit, heads: kvHeads, tokens: count)
      multiply(
        w, p, into: target.part(row: first), rows: tokens.count, depth: rank, columns: width)
      var scratch = Scratch(count: rank * width, parts: 1)
      let turned = unsafe StridedMatrix(scratch.take(rank * width), row: rank)
      p.transpose(into: turned, rows: rank, columns: width)
      let ofWeights = projection(gradients["d\(weights)"], unit, first, count)
      multiply(
        own, turned, into: ofWeights, rows: tokens.count, depth: width, columns: rank,
        adding: true)
    }
  }

  func reference(_ inputs: [String: [Double]]) -> [String: [Double]] {
    guard let q = inputs["q"], let k = inputs["k"], let v = inputs["v"], let e = inputs["e"],
      let f = inputs["f"]
    else { return [:] }
    let (o, lse) = referenceLinformer(
      q: q, k: k, v: v, e: e, f: f, headDim: d, rank: rank, scale: Double(scale))
    return ["o": o, "lse": lse]
  }

  private func forEachPart(_ tokens: Range<Int>, _ body: (Range<Int>) -> Void) {
    for start in Swift.stride(from: tokens.lowerBound, to: tokens.upperBound, by: partOfSums) {
      body(start..<min(start + partOfSums, tokens.upperBound))
    }
  }
}
