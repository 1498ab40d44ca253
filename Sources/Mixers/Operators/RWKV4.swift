import AttentionReference
import Compute
import MPI
import Tensors

/// RWKV's fourth version: of each channel a mean of the values so far, weighted by `e^key` and a
/// decay for each step since, with a bonus for the token itself.
///
/// `o_t = σ(r_t) (Σ_{i<t} e^{(t−1−i) w + k_i} v_i + e^{u + k_t} v_t) / (the same without v)`.
/// Numerator and denominator are kept with the largest exponent taken out, so that any keys are
/// computed.
/// A state of three numbers a channel goes from each rank to the next.
///
/// Source: Peng et al. 2023, RWKV: Reinventing RNNs for the Transformer Era.
struct RWKV4: Mixer {
  static let name = "rwkv4"
  static let summary = "a mean of values with decaying weights, channel by channel"
  static let demands = [
    TensorDemand("r", "batch tokens channels", isOptional: true),
    TensorDemand("k", "batch tokens channels"),
    TensorDemand("v", "batch tokens channels"),
    TensorDemand("w", "channels", filling: .negative),
    TensorDemand("u", "channels"),
    TensorDemand("state", "batch channels three", isOptional: true),
  ]
  static let randomDimensions = ["batch", "tokens", "channels"]
  static let unitDimension = "channels"
  static let options: Set<MixerOption> = []
  static let randomTensors: Set<String> = ["r"]

  let sizes: MixerSizes
  let inputs: [TensorForm]
  private let hasReceptance: Bool
  private let hasState: Bool

  /// The exponent of a state of nothing.
  static let nothing: Float = -1e38

  init(_ sizes: MixerSizes, present: Set<String>, options: MixerOptions) throws(MixerError) {
    if let three = sizes.find("three"), three != 3 {
      throw MixerError(
        "state has \(three) numbers a channel; give 3: numerator, denominator, exponent.")
    }
    var sizes = sizes
    sizes.complete("three", 3)
    self.sizes = sizes
    channels = sizes["channels"]
    inputs = Self.forms(sizes, present: present)
    hasReceptance = present.contains("r")
    hasState = present.contains("state")
  }

  var outputs: [TensorForm] {
    [Self.demands[2].form(sizes, named: "o"), Self.demands[5].form(sizes)]
  }
  var isInOrder: Bool { true }
  func exchanges(backward: Bool, ranks: Int, threads: Int) -> [MixerExchange] {
    let floats = batch * channels
    let blocks = ChannelBlocks(
      batch: batch, channels: channels, ranks: ranks, threads: threads, each: Self.blocksOfRank)
    let effect = RWKV4Rows.effectShare(backward: backward)
    return [.scan(units: blocks.count, floats: 3 * floats, effect: effect)]
      + (backward ? [.summary(floats: 2 * floats)] : [])
  }
  var flopsPerToken: (forward: Double, backward: Double) {
    (Double(20 * channels), Double(60 * channels))
  }

  func keptBytes(tokens: Int) -> Double {
    Double(batch * channels) * Double(tokens) * 12 / Double(RWKV4Rows.chunk)
  }

  private let channels: Int
  /// Blocks are not made narrower for ranks: parts of rows take twice as long to read as whole
  /// ones, which is more than what a head start takes.
  private static let blocksOfRank = 0

  private func blocks(on line: RankLine) -> ChannelBlocks {
    ChannelBlocks(batch: batch, channels: channels, on: line, each: Self.blocksOfRank)
  }

  func forward(
    _ x: MixerTensors, keeping: Bool, on line: RankLine
  ) throws(MPIError) -> MixerResult {
    var result = startedScan(x, on: line)
    let (o, state) = (result.outputs["o"], result.outputs["state"])
    if !hasState {
      for index in stride(from: 2, to: state.count, by: 3) {
        unsafe state.base[index] = Self.nothing
      }
    }
    let rows = RWKV4Rows(x, o: o, tokens: line.tokens, keeping: keeping, forms: sizes)
    let blocks = blocks(on: line)
    try unsafe Scan(cuts: blocks.cuts(3)).run(
      state, carried: nil, effect: rows.effect(blocks, backward: false), on: line
    ) { block, state, poll in
      unsafe rows.forward(blocks, block, state, poll)
    }
    if let checkpoints = rows.checkpoints { result.kept.add(checkpoints) }
    return result
  }

  func backward(
    _ x: MixerTensors, _ result: MixerResult, gradient: MixerTensor, on line: RankLine
  ) throws(MPIError) -> MixerTensors {
    let gradients = zeroGradients(on: line)
    let rows = RWKV4Rows(
      x, o: gradient, tokens: line.tokens, keeping: false, forms: sizes,
      checkpoints: result.kept["checkpoints"])
    // The gradient of a state, with an exponent that is taken out.
    let state = MixerTensor(zeros: outputs[1], tokens: 0)
    for channel in 0..<batch * channels { unsafe state.base[3 * channel + 2] = Self.nothing }
    // Of w and of u, of each sequence.
    let sums = MixerTensor(
      zeros: TensorForm(
        name: "sums", dimensions: ["two", "batch", "channels"], sizes: [2, batch, channels]),
      tokens: 0)
    let blocks = blocks(on: line)
    let back = RWKV4Gradients(gradients)
    try unsafe Scan(cuts: blocks.cuts(3), isReverse: true).run(
      state, carried: nil, effect: rows.effect(blocks, backward: true), on: line
    ) { block, state, poll in
      unsafe rows.backward(blocks, block, state, back, sums, poll)
    }
    try Summary.sum.combine(sums, on: line)
    for sequence in 0..<batch {
      for channel in 0..<channels {
        let place = sequence * channels + channel
        unsafe gradients["dw"].base[channel] += sums.base[place]
        unsafe gradients["du"].base[channel] += sums.base[batch * channels + place]
      }
    }
    if hasState { stateGradient(x["state"], state, into: gradients["dstate"]) }
    return gradients
  }

  /// The gradient of the numbers of the state that the sequence starts from.
  private func stateGradient(_ state: MixerTensor, _ g: MixerTensor, into gradient: MixerTensor) {
    for place in Swift.stride(from: 0, to: state.count, by: 3) {
      let (p, q, e) = unsafe (state.base[place], state.base[place + 1], state.base[place + 2])
      let factor = unsafe exp(Vector(repeating: g.base[place + 2] + e))[0]
      let (ofP, ofQ) = unsafe (g.base[place] * factor, g.base[place + 1] * factor)
      unsafe gradient.base[place] = ofP
      unsafe gradient.base[place + 1] = ofQ
      unsafe gradient.base[place + 2] = ofP * p + ofQ * q
    }
  }

  func reference(_ inputs: [String: [Double]]) -> [String: [Double]] {
    guard let k = inputs["k"], let v = inputs["v"], let w = inputs["w"], let u = inputs["u"] else {
      return [:]
    }
    let (o, state) = referenceRWKV4(
      r: inputs["r"] ?? [], k: k, v: v, w: w[0], u: u[0], state: inputs["state"] ?? [])
    return ["o": o, "state": state]
  }
}
