import AttentionReference
import Compute
import MPI
import Tensors

/// Mamba's selective scan: `h_t = e^{Δ_t A} h_{t−1} + Δ_t B_t x_t` and `y_t = C_t · h_t + D x_t`.
///
/// `A` is of each channel and number of its state, `Δ` of each channel and token, `B` and `C` of
/// each token. Where their tensors are there, a short convolution is before it and a gate `silu(z)`
/// after it. The paper's `B̄` is the authors' `Δ B`, as in their code. A state of `channels · state`
/// numbers goes from each rank to the next, and the last rows before a rank's first token to it,
/// for the convolution.
///
/// Source: Gu and Dao 2023, Mamba: Linear-Time Sequence Modeling with Selective State Spaces.
struct Mamba: Mixer {
  static let name = "mamba"
  static let summary = "a selective state space, channel by channel"
  static let demands = [
    TensorDemand("x", "batch tokens channels"),
    TensorDemand("delta", "batch tokens channels", filling: .step),
    TensorDemand("a", "channels state", filling: .negative),
    TensorDemand("b", "batch tokens state"),
    TensorDemand("c", "batch tokens state"),
    TensorDemand("d", "channels"),
    TensorDemand("z", "batch tokens channels", isOptional: true),
    TensorDemand("delta_bias", "channels", isOptional: true),
    TensorDemand("conv_weight", "channels width", isOptional: true),
    TensorDemand("conv_bias", "channels", isOptional: true),
    TensorDemand("state", "batch channels state", isOptional: true),
    TensorDemand("conv_state", "batch channels before", isOptional: true),
  ]
  static let randomDimensions = ["batch", "tokens", "channels", "state"]
  static let randomTensors: Set<String> = ["z"]
  static let unitDimension = "channels"
  static let options: Set<MixerOption> = [.softplus]

  let sizes: MixerSizes
  let inputs: [TensorForm]
  let softplus: Bool
  private let present: Set<String>

  init(_ sizes: MixerSizes, present: Set<String>, options: MixerOptions) throws(MixerError) {
    self.sizes = sizes
    channels = sizes["channels"]
    states = sizes["state"]
    self.present = present
    softplus = options.softplus
    inputs = Self.forms(sizes, present: present)
    for name in ["conv_bias", "conv_state"] where present.contains(name) && !hasConvolution {
      throw MixerError("\(name) is there and conv_weight is not; give both or neither.")
    }
    if let width = sizes.find("width"), hasConvolution, present.contains("conv_state") {
      guard sizes["before"] == width - 1 else {
        throw MixerError(
          "conv_state has \(sizes["before"]) tokens, and conv_weight is \(width) wide; give "
            + "\(width - 1).")
      }
    }
  }

  var hasConvolution: Bool { present.contains("conv_weight") }
  let channels: Int
  let states: Int

  /// Few, since states go ahead, and each block has a share in the gradients of b and c.
  private static let blocksOfRank = 4

  private func blocks(on line: RankLine) -> ChannelBlocks {
    ChannelBlocks(batch: batch, channels: channels, on: line, each: Self.blocksOfRank)
  }

  var outputs: [TensorForm] {
    [Self.demands[0].form(sizes, named: "o"), Self.demands[10].form(sizes)]
      + (hasConvolution && sizes["width"] > 1
        ? [
          ShortConvolution.stateForm(batch: batch, channels: channels, width: sizes["width"])
        ] : [])
  }

  var isInOrder: Bool { true }
  func exchanges(backward: Bool, ranks: Int, threads: Int) -> [MixerExchange] {
    let blocks = ChannelBlocks(
      batch: batch, channels: channels, ranks: ranks, threads: threads, each: Self.blocksOfRank)
    let (floats, width) = (batch * channels, hasConvolution ? sizes["width"] : 1)
    var exchanges = [
      MixerExchange.scan(
        units: blocks.count, floats: floats * states,
        effect: MambaRows.effectShare(self, backward: backward))
    ]
    if width > 1 { exchanges.append(.halo(rows: width - 1, floats: floats)) }
    guard backward else { return exchanges }
    exchanges.append(.summary(floats: floats * (states + 2)))
    if hasConvolution { exchanges.append(.summary(floats: floats * (width + 1))) }
    if hasConvolution, present.contains("conv_state") {
      exchanges.append(.summary(floats: floats * (width - 1)))
    }
    return exchanges
  }
  var flopsPerToken: (forward: Double, backward: Double) {
    (Double(channels * (7 * states + 12)), Double(channels * (20 * states + 40)))
  }

  func keptBytes(tokens: Int) -> Double {
    let rows = Double(batch) * Double(tokens)
    return 4 * rows
      * (Double(channels * states) / Double(MambaRows.chunk)
        + Double((hasConvolution ? 2 : 0) * channels)
        // Shares of blocks in the gradients of b and c: of as many as there may be.
        + Double(2 * ((channels + 15) / 16) * states))
  }

  func forward(
    _ x: MixerTensors, keeping: Bool, on line: RankLine
  ) throws(MPIError) -> MixerResult {
    var result = startedScan(x, on: line)
    let (o, state) = (result.outputs["o"], result.outputs["state"])
    var u = x["x"]
    let blocks = blocks(on: line)
    if let convolution = convolution(x, blocks) {
      let halo = try convolution.halo(before: x.find("conv_state"), on: line)
      u = convolution.forward(halo, on: line)
      if outputs.count > 2 { result.outputs.add(convolution.lastRows(halo, on: line)) }
      if keeping {
        result.kept.add(halo)
        result.kept.add(MixerTensor(sharing: u, named: "convolved"))
      }
    }
    let rows = MambaRows(self, x, u: u, o: o, tokens: line.tokens, keeping: keeping)
    try unsafe Scan(cuts: blocks.cuts(states)).run(
      state, carried: nil, effect: rows.effect(blocks, backward: false), on: line
    ) { block, state, poll in
      unsafe rows.forward(blocks, block, state, poll)
    }
    if let checkpoints = rows.checkpoints { result.kept.add(checkpoints) }
    return result
  }

  private func convolution(_ x: MixerTensors, _ blocks: ChannelBlocks) -> ShortConvolution? {
    x.find("conv_weight").map {
      ShortConvolution(x: x["x"], weight: $0, bias: x.find("conv_bias"), blocks: blocks)
    }
  }

  func backward(
    _ x: MixerTensors, _ result: MixerResult, gradient: MixerTensor, on line: RankLine
  ) throws(MPIError) -> MixerTensors {
    let gradients = zeroGradients(on: line)
    let blocks = blocks(on: line)
    let convolution = convolution(x, blocks)
    // With a convolution, the gradient of what it has made.
    let ofInput =
      convolution == nil
      ? gradients["dx"] : MixerTensor(zeros: inputs[0].named("convolved"), tokens: line.tokens)
    let rows = MambaRows(
      self, x, u: result.kept.find("convolved") ?? x["x"], o: gradient, tokens: line.tokens,
      keeping: false, checkpoints: result.kept["checkpoints"])
    let back = MambaGradients(self, blocks, gradients, ofInput: ofInput, tokens: line.tokens)
    let state = MixerTensor(zeros: outputs[1], tokens: 0)
    try unsafe Scan(cuts: blocks.cuts(states), isReverse: true).run(
      state, carried: nil, effect: rows.effect(blocks, backward: true), on: line
    ) { block, state, poll in
      unsafe rows.backward(blocks, block, state, back, poll)
    }
    back.addShares(on: line)
    if let convolution {
      let taps = sizes["width"] + 1
      let sums = MixerTensor(
        zeros: TensorForm(
          name: "sums", dimensions: ["taps", "batch", "channels"],
          sizes: [taps, batch, channels]), tokens: 0)
      let ofHalo = try convolution.backward(
        result.kept["halo"], ofInput, dx: gradients["dx"], sums: sums, on: line)
      try Summary.sum.combine(sums, on: line)
      store(sums, in: gradients)
      if let before = gradients.find("dconv_state") { try store(ofHalo, in: before, line) }
    }
    try back.combine(on: line)
    if let first = gradients.find("dstate") {
      unsafe first.base.update(from: state.base, count: state.count)
    }
    return gradients
  }

  /// The gradients of a convolution's weights and bias, added up over sequences.
  private func store(_ sums: MixerTensor, in gradients: MixerTensors) {
    let width = sizes["width"]
    for sequence in 0..<batch {
      for channel in 0..<channels {
        for tap in 0..<width {
          unsafe gradients["dconv_weight"].base[channel * width + tap] +=
            sums.base[(tap * batch + sequence) * channels + channel]
        }
        if let bias = gradients.find("dconv_bias") {
          unsafe bias.base[channel] += sums.base[(width * batch + sequence) * channels + channel]
        }
      }
    }
  }

  /// The gradient of the rows before the sequence, of which each rank near its start knows a part.
  private func store(
    _ halo: MixerTensor, in before: MixerTensor, _ line: RankLine
  ) throws(MPIError) {
    let (width, start) = (sizes["width"] - 1, line.runs.first?.start ?? Int.max)
    if start < width {
      for sequence in 0..<batch {
        for row in 0..<width - start {
          for channel in 0..<channels {
            unsafe before.base[(sequence * channels + channel) * width + row + start] =
              halo.base[(sequence * width + row) * channels + channel]
          }
        }
      }
    }
    try Summary.sum.combine(before, on: line)
  }

  func reference(_ inputs: [String: [Double]]) -> [String: [Double]] {
    var channel = ReferenceMambaChannel()
    channel.x = inputs["x"] ?? []
    channel.delta = inputs["delta"] ?? []
    channel.a = inputs["a"] ?? []
    channel.b = inputs["b"] ?? []
    channel.c = inputs["c"] ?? []
    channel.d = inputs["d"]?.first ?? 0
    channel.z = inputs["z"] ?? []
    channel.deltaBias = inputs["delta_bias"]?.first ?? 0
    channel.softplus = softplus
    channel.convolution = inputs["conv_weight"] ?? []
    channel.convolutionBias = inputs["conv_bias"]?.first ?? 0
    channel.before = inputs["conv_state"] ?? []
    channel.state = inputs["state"] ?? []
    let (o, state) = channel.run()
    var results = ["o": o, "state": state]
    if outputs.count > 2 {
      let width = sizes["width"] - 1
      let before =
        channel.before.isEmpty ? [Double](repeating: 0, count: width) : channel.before
      results["conv_state"] = Array((before + channel.x).suffix(width))
    }
    return results
  }
}
