import AttentionReference
import Compute
import MPI
import Tensors

/// Attention whose weights are `relu(scale · q_i · k_j)`, divided by the tokens or by
/// `√(n_i / 2)` of the `n_i` keys that a query sees, and by `gamma` of its head where it is given.
///
/// There is no maximum and no sum of weights: partial sums of outputs are simply added. Keys and
/// values go round a ring, `P − 1` hops, as in ring attention; backward they do so again, and their
/// gradients follow them home, `P` hops. Positions alone say what is visible, so any layout is
/// computed; causal, `zigzag` gives all ranks as much to do.
///
/// Source: Wortsman et al. 2023, Replacing softmax with ReLU in Vision Transformers; the other
/// divisor is that of Shen et al. 2023, A Study on ReLU and Softmax in Transformer.
struct ReLUAttention: HeadMixer {
  static let name = "relu"
  static let summary = "attention with the positive part of scores for weights"
  static let demands =
    groupedTensors + [TensorDemand("gamma", "heads", isOptional: true, filling: .share)]
  static let furtherRandomDimensions = groupedRandomDimensions
  static let randomTensors: Set<String> = ["gamma"]
  static let options: Set<MixerOption> = [.causal, .scale, .normalize]
  static let differenceStep = 1e-8

  let sizes: MixerSizes
  let inputs: [TensorForm]
  let scale: Float
  /// Whether a query meets the keys up to its own only.
  let isCausal: Bool
  /// Whether weights are divided by the root of half the keys that a query sees.
  let countsVisible: Bool

  init(_ sizes: MixerSizes, present: Set<String>, options: MixerOptions) throws(MixerError) {
    try Self.checkGroups(sizes)
    self.sizes = sizes
    inputs = Self.forms(sizes, present: present)
    scale = Float(options.scale ?? 1 / Double(sizes["headDim"]).squareRoot())
    isCausal = options.isCausal
    countsVisible = options.normalization == .visible
  }

  var outputs: [TensorForm] { [headOutput] }
  var isInOrder: Bool { false }
  func exchanges(backward: Bool, ranks: Int, threads: Int) -> [MixerExchange] {
    let floats = batch * sizes["kvHeads"] * (sizes["headDim"] + sizes["valueHeadDim"])
    let hasGamma = inputs.contains { $0.name == "gamma" }
    return [.ring(floats: floats, returning: backward ? floats : 0)]
      + (backward && hasGamma ? [.summary(floats: batch * sizes["heads"])] : [])
  }
  var flopsPerToken: (forward: Double, backward: Double) {
    let seen = isCausal ? Double(tokens + 1) / 2 : Double(tokens)
    let (d, c) = (Double(sizes["headDim"]), Double(sizes["valueHeadDim"]))
    let scores = 2 * Double(sizes["heads"]) * seen
    return (scores * (d + c), scores * (3 * d + 2 * c))
  }

  func keptBytes(tokens: Int) -> Double {
    // Two blocks of keys and values on their way; backward gradients of three as well.
    let columns = Double(sizes["headDim"] + sizes["valueHeadDim"])
    return 6 * 4 * Double(batch * tokens * sizes["kvHeads"]) * columns
  }

  func forward(
    _ x: MixerTensors, keeping: Bool, on line: RankLine
  ) throws(MPIError) -> MixerResult {
    var result = MixerResult()
    let o = result.outputs.addZeros(outputs[0], tokens: line.tokens)
    let rows = ReLURows(self, x, o: o, on: line)
    try rows.ring.run(rows.block, on: line) { visit throws(MPIError) in
      try rows.meet(visit)
    }
    return result
  }

  func backward(
    _ x: MixerTensors, _ result: MixerResult, gradient: MixerTensor, on line: RankLine
  ) throws(MPIError) -> MixerTensors {
    let gradients = zeroGradients(on: line)
    let rows = ReLURows(self, x, o: gradient, on: line)
    let sums = MixerTensor(zeros: rows.block.form, tokens: 0)
    try rows.ring.run(rows.block, sums: sums, on: line) { visit throws(MPIError) in
      try rows.meetBackward(visit, ofQueries: gradients["dq"])
    }
    rows.unpack(sums, keys: gradients["dk"], values: gradients["dv"])
    if let target = gradients.find("dgamma"), let gamma = x.find("gamma") {
      try gammaGradient(gamma, result.outputs["o"], gradient, to: target, on: line)
    }
    return gradients
  }

  /// Weights are divided by gamma: its gradient is `−Σ do ∘ o / gamma`.
  private func gammaGradient(
    _ gamma: MixerTensor, _ o: MixerTensor, _ gradient: MixerTensor, to target: MixerTensor,
    on line: RankLine
  ) throws(MPIError) {
    let (heads, c, count) = (sizes["heads"], sizes["valueHeadDim"], line.tokens)
    let sums = MixerTensor(
      zeros: TensorForm(name: "sums", dimensions: ["units"], sizes: [batch * heads]), tokens: 0)
    unsafe line.addUp(units: batch * heads, to: sums) { unit, tokens, total, _ in
      let (own, others) = unsafe (
        headRows(o, unit, heads: heads, tokens: count),
        headRows(gradient, unit, heads: heads, tokens: count)
      )
      for token in tokens {
        let (a, b) = (own.part(row: token), others.part(row: token))
        var sum = Vector.zero
        forEachVector(c) { column in
          unsafe sum.addProduct(
            Vector(loading: a.base, at: column, of: c), Vector(loading: b.base, at: column, of: c))
        }
        unsafe total[0] += Double(sum.laneSum)
      }
    }
    try Summary.sum.combine(sums, on: line)
    for unit in 0..<batch * heads {
      let head = unit % heads
      unsafe target.base[head] -= sums.base[unit] / gamma.base[head]
    }
  }

  func reference(_ inputs: [String: [Double]]) -> [String: [Double]] {
    guard let q = inputs["q"], let k = inputs["k"], let v = inputs["v"] else { return [:] }
    return [
      "o": referenceReLU(
        q: q, k: k, v: v, gamma: inputs["gamma"]?.first ?? 1, headDim: sizes["headDim"],
        scale: Double(scale), isCausal: isCausal, countsVisible: countsVisible)
    ]
  }
}
