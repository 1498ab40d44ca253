import AttentionReference

/// Mamba's second version as an operator, state space duality: `S_t = e^{g_t} S_{t−1} + k_t v_tᵀ`
/// with one exponent for each head and token, and `o_t = scale · q_t S_t`.
///
/// In the paper's words k is B, q is C, v is Δ x and g is Δ A. Heads may share k and q in groups.
///
/// Source: Dao and Gu 2024, Transformers are SSMs: Generalized Models and Efficient Algorithms
/// Through Structured State Space Duality.
struct Mamba2: GatedMixer {
  static let name = "mamba2"
  static let summary = "state space duality: linear attention with a decay for each head and token"
  static let demands = tensors(
    [
      TensorDemand("q", "batch tokens groups headDim"),
      TensorDemand("k", "batch tokens groups headDim"),
      TensorDemand("v", "batch tokens heads valueHeadDim"),
    ], TensorDemand("g", "batch tokens heads", filling: .gate))
  static let furtherRandomDimensions = [
    (name: "valueHeadDim", likewise: "headDim"), (name: "groups", likewise: "heads"),
  ]
  static let options: Set<MixerOption> = [.scale, .chunk]
  static let gate = "g"
  static let hasBonus = false
  static let gates = ReferenceGatedHead.Gates.tokens

  let sizes: MixerSizes
  let scale: Float
  let hasState: Bool
  let chunk: Int?

  init(_ sizes: MixerSizes, present: Set<String>, options: MixerOptions) throws(MixerError) {
    let (heads, groups) = (sizes["heads"], sizes["groups"])
    guard heads % groups == 0 else {
      throw MixerError(
        "v has \(heads) heads, and q and k are of \(groups) groups: heads share groups evenly; "
          + "give a number of heads that is a multiple of \(groups).")
    }
    self.sizes = sizes
    scale = Float(options.scale ?? 1)
    hasState = present.contains("state")
    chunk = options.chunk
  }
}
