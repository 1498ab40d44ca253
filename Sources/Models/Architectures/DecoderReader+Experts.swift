import Compute
import KernelSets
import Tensors

/// Mixtures of experts, as files have them.
extension DecoderReader {
  /// The dimensions of a model whose layers have experts.
  func sizesWithExperts() throws(TensorFileError) -> Decoder.Sizes {
    let name = "expert_feed_forward_length"
    var sizes = try sizes(hidden: values.has(name) ? name : "feed_forward_length")
    sizes.experts = try values.int("expert_count", in: 1...4096)
    sizes.expertsOfToken = try values.int("expert_used_count", in: 1...4096)
    guard sizes.expertsOfToken <= sizes.experts else {
      throw wrong(
        "expert_used_count",
        "a token goes to \(sizes.expertsOfToken) experts, and there are \(sizes.experts)")
    }
    return sizes
  }

  /// A mixture of experts; its biases where the file has them.
  func mixture(
    _ prefix: String, _ sizes: Decoder.Sizes, _ activation: Activation,
    _ weighing: ExpertMixture.Weighing
  ) throws(TensorFileError) -> ExpertMixture {
    let (width, hidden, count) = (sizes.width, sizes.hidden, sizes.experts)
    try requireActivation(activation)
    let gates = try matrices(prefix, "gate", outputs: hidden, inputs: width, count: count)
    let ups = try matrices(prefix, "up", outputs: hidden, inputs: width, count: count)
    let downs = try matrices(prefix, "down", outputs: width, inputs: hidden, count: count)
    let gateBiases = try biases(prefix + "ffn_gate_exps.bias", hidden, count: count)
    let upBiases = try biases(prefix + "ffn_up_exps.bias", hidden, count: count)
    let downBiases = try biases(prefix + "ffn_down_exps.bias", width, count: count)
    return ExpertMixture(
      router: try matrix(prefix + "ffn_gate_inp.weight", outputs: count, inputs: width),
      routerBias: try vectorIfAny(prefix + "ffn_gate_inp.bias", count: count),
      experts: (0..<count).map {
        ExpertMixture.Expert(
          gate: gates[$0], up: ups[$0], gateBias: gateBiases[$0], upBias: upBiases[$0],
          down: downs[$0], downBias: downBiases[$0])
      }, chosen: sizes.expertsOfToken, weighing: weighing, activation: activation)
  }

  /// Matrices of all experts, which are in one tensor or in one each.
  private func matrices(
    _ prefix: String, _ part: String, outputs: Int, inputs: Int, count: Int
  ) throws(TensorFileError) -> [StoredMatrix] {
    func name(_ expert: Int) -> String { "\(prefix)ffn_\(part).\(expert).weight" }
    if file.has(name(0)) {
      var matrices: [StoredMatrix] = []
      for expert in 0..<count {
        matrices.append(try matrix(name(expert), outputs: outputs, inputs: inputs))
      }
      return matrices
    }
    return try matrices(
      "\(prefix)ffn_\(part)_exps.weight", count: count, outputs: outputs, inputs: inputs)
  }

  /// Biases of all experts, `[count, width]`; empty ones where the file has none.
  private func biases(
    _ name: String, _ width: Int, count: Int
  ) throws(TensorFileError) -> [[Float]] {
    guard file.has(name) else { return Array(repeating: [], count: count) }
    let all = try tensor(name, shape: [count, width]).decoded()
    return (0..<count).map { expert in
      (expert * width..<(expert + 1) * width).map { all.span[$0] }
    }
  }
}
