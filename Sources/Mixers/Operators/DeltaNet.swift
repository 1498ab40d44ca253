import AttentionReference
import Compute
import MPI
import Tensors

/// The delta rule: `S_t = S_{t−1} + k_t (β_t (v_t − k_tᵀ S_{t−1}))ᵀ`, `o_t = scale · q_t S_t`: what
/// a key reads is replaced by its value, as far as β says.
///
/// Inside a rank in chunks, as matrix products: the changes `u_t` of a chunk's tokens solve
/// `(I + A) U = β (V − K S)` with `A_tj = β_t k_t · k_j` for `j < t`, a triangular system, and then
/// `o = Q S + tril(Q Kᵀ) U` and `S ← S + Kᵀ U`. The forward pass keeps the state before each chunk.
///
/// Source: Yang et al. 2024, Parallelizing Linear Transformers with the Delta Rule over Sequence
/// Length; the rule is Schlag et al. 2021, Linear Transformers Are Secretly Fast Weight
/// Programmers.
struct DeltaNet: HeadMixer {
  static let name = "deltanet"
  static let summary = "a state in which what a key reads is replaced by its value"
  static let demands = [
    TensorDemand("q", "batch tokens heads headDim"),
    TensorDemand("k", "batch tokens heads headDim", filling: .weight),
    TensorDemand("v", "batch tokens heads valueHeadDim"),
    TensorDemand("beta", "batch tokens heads", filling: .share),
    TensorDemand("state", "batch heads headDim valueHeadDim", isOptional: true),
  ]
  static let options: Set<MixerOption> = [.scale, .chunk]

  let sizes: MixerSizes
  let inputs: [TensorForm]
  let scale: Float
  /// Tokens of a chunk.
  let chunk: Int
  private let heads: Int
  /// Columns of queries and keys, and of values.
  private let d: Int
  private let c: Int

  init(_ sizes: MixerSizes, present: Set<String>, options: MixerOptions) throws(MixerError) {
    self.sizes = sizes
    inputs = Self.forms(sizes, present: present)
    scale = Float(options.scale ?? 1 / Double(sizes["headDim"]).squareRoot())
    chunk = options.chunk ?? 64
    (heads, d, c) = (sizes["heads"], sizes["headDim"], sizes["valueHeadDim"])
  }

  var outputs: [TensorForm] {
    [
      Self.demands[2].form(sizes, named: "o"), Self.demands[4].form(sizes),
    ]
  }
  var isInOrder: Bool { true }
  func exchanges(backward: Bool, ranks: Int, threads: Int) -> [MixerExchange] {
    [.scan(units: units, floats: units * d * c)]
  }
  var flopsPerToken: (forward: Double, backward: Double) {
    let products = Double(heads * d * c)
    return (6 * products, 12 * products)
  }
  private var units: Int { batch * heads }

  private func chunks(_ tokens: Int) -> Int { (tokens + chunk - 1) / chunk }

  func keptBytes(tokens: Int) -> Double {
    4 * Double(units * chunks(tokens)) * Double(d * c)
  }

  func forward(
    _ x: MixerTensors, keeping: Bool, on line: RankLine
  ) throws(MPIError) -> MixerResult {
    var result = startedScan(x, on: line)
    let (o, state) = (result.outputs["o"], result.outputs["state"])
    let (count, length, chunks) = (line.tokens, d * c, chunks(line.tokens))
    let kept = MixerTensor(
      zeros: TensorForm(
        name: "chunks", dimensions: ["units", "chunks", "state"],
        sizes: [units, keeping ? chunks : 0, length]), tokens: 0)
    try unsafe Scan(units: units, stateLength: length).run(state, carried: nil, on: line) {
      [self] unit, state, poll in
      let work = DeltaWork(d: d, c: c, chunk: chunk)
      let s = unsafe StridedMatrix(state, row: c)
      let target = unsafe headRows(o, unit, heads: heads, tokens: count)
      for index in 0..<chunks {
        if keeping {
          unsafe (kept.base + (unit * chunks + index) * length).update(from: state, count: length)
        }
        let tokens = index * chunk..<min((index + 1) * chunk, count)
        take(x, unit, tokens, count, into: work)
        work.solve(s, tokens.count)
        work.read(s, tokens.count, into: target.part(row: tokens.lowerBound))
        multiply(
          work.k.transposed, work.u, into: s, rows: d, depth: tokens.count, columns: c,
          adding: true)
        poll()
      }
    }
    result.kept.add(kept)
    return result
  }

  /// Some tokens of a head, side by side.
  private func take(
    _ x: MixerTensors, _ unit: Int, _ tokens: Range<Int>, _ count: Int,
    into work: borrowing DeltaWork
  ) {
    let (sequence, head) = unit.quotientAndRemainder(dividingBy: heads)
    let (q, k, v) = unsafe (
      headRows(x["q"], unit, heads: heads, tokens: count).part(row: tokens.lowerBound),
      headRows(x["k"], unit, heads: heads, tokens: count).part(row: tokens.lowerBound),
      headRows(x["v"], unit, heads: heads, tokens: count).part(row: tokens.lowerBound)
    )
    q.copy(to: work.q, rows: tokens.count, columns: d)
    k.copy(to: work.k, rows: tokens.count, columns: d)
    v.copy(to: work.v, rows: tokens.count, columns: c)
    for index in 0..<tokens.count * d { unsafe work.q.base[index] *= scale }
    for (index, token) in tokens.enumerated() {
      unsafe work.beta.base[index] = x["beta"].base[(sequence * count + token) * heads + head]
    }
  }

  func backward(
    _ x: MixerTensors, _ result: MixerResult, gradient: MixerTensor, on line: RankLine
  ) throws(MPIError) -> MixerTensors {
    let gradients = zeroGradients(on: line)
    let (count, length, chunks) = (line.tokens, d * c, chunks(line.tokens))
    let states = MixerTensor(
      zeros: TensorForm(
        name: "gradients", dimensions: ["units", "state"], sizes: [units, length]), tokens: 0)
    let kept = result.kept["chunks"]
    let scan = Scan(units: units, stateLength: length, isReverse: true)
    try unsafe scan.run(states, carried: nil, on: line) {
      [self, gradients] unit, state, poll in
      let work = DeltaGradientWork(d: d, c: c, chunk: chunk)
      let ofState = unsafe StridedMatrix(state, row: c)
      let ofOutput = unsafe headRows(gradient, unit, heads: heads, tokens: count)
      for index in (0..<chunks).reversed() {
        let tokens = index * chunk..<min((index + 1) * chunk, count)
        let s = unsafe StridedMatrix(kept.base + (unit * chunks + index) * length, row: c)
        take(x, unit, tokens, count, into: work.forward)
        ofOutput.part(row: tokens.lowerBound)
          .copy(to: work.ofOutput, rows: tokens.count, columns: c)
        work.gradients(s, ofState, tokens.count)
        store(work, gradients, unit, tokens, count)
        poll()
      }
    }
    if let first = gradients.find("dstate") {
      unsafe first.base.update(from: states.base, count: first.count)
    }
    return gradients
  }

  private func store(
    _ work: borrowing DeltaGradientWork, _ gradients: MixerTensors, _ unit: Int,
    _ tokens: Range<Int>, _ count: Int
  ) {
    let (sequence, head) = unit.quotientAndRemainder(dividingBy: heads)
    for index in 0..<tokens.count * d { unsafe work.ofQueries.base[index] *= scale }
    for (name, rows, columns) in [
      ("dq", work.ofQueries, d), ("dk", work.ofKeys, d), ("dv", work.ofValues, c),
    ] {
      let target = unsafe headRows(gradients[name], unit, heads: heads, tokens: count)
      rows.copy(to: target.part(row: tokens.lowerBound), rows: tokens.count, columns: columns)
    }
    let target = gradients["dbeta"]
    for (index, token) in tokens.enumerated() {
      unsafe target.base[(sequence * count + token) * heads + head] = work.ofBeta.base[index]
    }
  }

  func reference(_ inputs: [String: [Double]]) -> [String: [Double]] {
    guard let q = inputs["q"], let k = inputs["k"], let v = inputs["v"], let beta = inputs["beta"]
    else { return [:] }
    let (o, state) = referenceDeltaNet(
      q: q, k: k, v: v, beta: beta, state: inputs["state"] ?? [], headDim: d, valueHeadDim: c,
      scale: Double(scale))
    return ["o": o, "state": state]
  }
}
