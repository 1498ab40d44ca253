import AttentionReference

/// Gated linear attention: `S_t = e^{g_t} S_{t−1} + k_t v_tᵀ` with an exponent for each key column,
/// and `o_t = scale · q_t S_t`.
///
/// Query heads may share keys, values and exponents; each has a state of its own.
///
/// Source: Yang et al. 2023, Gated Linear Attention Transformers with Hardware-Efficient Training.
struct GLA: GatedMixer {
  static let name = "gla"
  static let summary = "gated linear attention, with a decay for each key column"
  static let demands = tensors(
    groupedTensors, TensorDemand("g", "batch tokens kvHeads headDim", filling: .gate))
  static let furtherRandomDimensions = groupedRandomDimensions
  static let options: Set<MixerOption> = [.scale, .chunk]
  static let gate = "g"
  static let hasBonus = false
  static let gates = ReferenceGatedHead.Gates.keys

  let sizes: MixerSizes
  let scale: Float
  let hasState: Bool
  let chunk: Int?

  init(_ sizes: MixerSizes, present: Set<String>, options: MixerOptions) throws(MixerError) {
    try Self.checkGroups(sizes)
    self.sizes = sizes
    scale = Float(options.scale ?? 1 / Double(sizes["headDim"]).squareRoot())
    hasState = present.contains("state")
    chunk = options.chunk
  }
}
