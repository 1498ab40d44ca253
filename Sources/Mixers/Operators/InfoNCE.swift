import AttentionReference
import Compute
import MPI
import Sharding
import Tensors

/// The loss of contrastive predictive coding: how well a context tells the token that is k steps
/// ahead from all tokens of its sequence, `−ln (f_k(z_{t+k}, c_t) / Σ_j f_k(z_j, c_t))` with
/// `f_k(z, c) = e^{z · W_k c / temperature}`, its mean over all contexts that have such a token.
///
/// It is ring attention without values: z goes round, `P − 1` hops, and a context keeps a maximum
/// and a sum; backward it goes round again, and its gradient follows it home. Any layout is
/// computed.
///
/// Source: van den Oord et al. 2018, Representation Learning with Contrastive Predictive Coding.
struct InfoNCE: Mixer {
  static let name = "infonce"
  static let summary = "the contrastive loss of predicting tokens some steps ahead"
  static let demands = [
    TensorDemand("z", "sequences tokens dim"), TensorDemand("c", "sequences tokens dim"),
    TensorDemand("W", "steps dim dim", filling: .weight),
  ]
  static let randomDimensions = ["sequences", "tokens", "dim", "steps"]
  static let unitDimension = "whole"
  static let options: Set<MixerOption> = [.temperature, .steps]

  let sizes: MixerSizes
  let temperature: Float
  /// How many steps ahead the last token is that is predicted.
  let steps: Int
  let sequences: Int
  let dim: Int

  init(_ sizes: MixerSizes, present: Set<String>, options: MixerOptions) throws(MixerError) {
    var sizes = sizes
    sizes.complete("batch", 1)
    sizes.complete("whole", 1)
    self.sizes = sizes
    temperature = Float(options.temperature ?? 1)
    steps = options.steps ?? sizes["steps"]
    (sequences, dim) = (sizes["sequences"], sizes["dim"])
    guard steps <= sizes["steps"] else {
      throw MixerError(
        "--steps is \(steps), and W has \(sizes["steps"]); give at most these.")
    }
  }

  var inputs: [TensorForm] { Self.forms(sizes, present: []) }
  var outputs: [TensorForm] {
    [TensorForm(name: "loss", dimensions: ["steps"], sizes: [steps])]
  }
  var isInOrder: Bool { false }
  func exchanges(backward: Bool, ranks: Int, threads: Int) -> [MixerExchange] {
    let floats = sequences * dim
    return [
      .ring(floats: floats, returning: backward ? floats : 0),
      .summary(floats: backward ? steps * floats * dim : steps),
    ]
  }
  var flopsPerToken: (forward: Double, backward: Double) {
    let products = 2 * Double(sequences * steps) * Double(dim)
    return (
      products * Double(tokens + dim), products * Double(4 * tokens + 2 * dim)
    )
  }

  func keptBytes(tokens: Int) -> Double {
    // Predictions and their gradients, and blocks on their way.
    4 * Double(sequences * tokens * dim) * Double(2 * steps + 6)
  }

  /// Contexts that have a token so many steps ahead.
  func contexts(step: Int) -> Int { sequences * max(0, tokens - step - 1) }

  func forward(
    _ x: MixerTensors, keeping: Bool, on line: RankLine
  ) throws(MPIError) -> MixerResult {
    var result = MixerResult()
    let loss = result.outputs.addZeros(outputs[0], tokens: line.tokens)
    let rows = InfoNCERows(self, x, on: line)
    let sums = rows.sums()
    try rows.ring.run(x["z"], on: line) { visit throws(MPIError) in
      try rows.meet(visit, sums)
    }
    rows.addUp(sums, into: loss)
    try Summary.sum.combine(loss, on: line)
    result.kept.add(sums)
    return result
  }

  func backward(
    _ x: MixerTensors, _ result: MixerResult, gradient: MixerTensor, on line: RankLine
  ) throws(MPIError) -> MixerTensors {
    let gradients = zeroGradients(on: line)
    let rows = InfoNCERows(self, x, on: line)
    let slopes = rows.slopes(gradient)
    let sums = result.kept["sums"]
    try rows.ring.run(x["z"], sums: gradients["dz"], on: line) { visit throws(MPIError) in
      try rows.predictionGradients(visit, sums, slopes)
      try rows.tokenGradients(visit, sums, slopes)
    }
    try rows.finish(x["c"], contexts: gradients["dc"], weights: gradients["dW"], on: line)
    return gradients
  }

  func reference(_ inputs: [String: [Double]]) -> [String: [Double]] {
    guard let z = inputs["z"], let c = inputs["c"], let w = inputs["W"] else { return [:] }
    return [
      "loss": referenceInfoNCE(
        z: z, contexts: c, w: w, sequences: sequences, dim: dim, steps: steps,
        temperature: Double(temperature))
    ]
  }
}
