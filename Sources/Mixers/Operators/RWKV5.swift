import AttentionReference

/// RWKV's fifth version: `o_t = r_t (S_{t−1} + diag(u) k_t v_tᵀ)` and
/// `S_t = diag(e^w) S_{t−1} + k_t v_tᵀ`, with an exponent and a bonus for each key column of a
/// head.
///
/// Source: Peng et al. 2024, Eagle and Finch: RWKV with Matrix-Valued States and Dynamic
/// Recurrence.
struct RWKV5: GatedMixer {
  static let name = "rwkv5"
  static let summary = "a decaying state of each head, with a bonus for the token itself"
  static let demands = tensors(headTensors, TensorDemand("w", "heads headDim", filling: .gate))
  static let options: Set<MixerOption> = []
  static let query = "r"
  static let gate = "w"
  static let hasBonus = true
  static let gates = ReferenceGatedHead.Gates.all

  let sizes: MixerSizes
  let scale: Float = 1
  let hasState: Bool

  init(_ sizes: MixerSizes, present: Set<String>, options: MixerOptions) throws(MixerError) {
    self.sizes = sizes
    hasState = present.contains("state")
  }
}

/// RWKV's sixth version: the same with exponents of each token.
struct RWKV6: GatedMixer {
  static let name = "rwkv6"
  static let summary = "rwkv5 with a decay that each token decides"
  static let demands = tensors(
    headTensors, TensorDemand("w", "batch tokens heads headDim", filling: .gate))
  static let options: Set<MixerOption> = []
  static let query = "r"
  static let gate = "w"
  static let hasBonus = true
  static let gates = ReferenceGatedHead.Gates.keys

  let sizes: MixerSizes
  let scale: Float = 1
  let hasState: Bool

  init(_ sizes: MixerSizes, present: Set<String>, options: MixerOptions) throws(MixerError) {
    self.sizes = sizes
    hasState = present.contains("state")
  }
}
