import Compute
import Glibc
import KernelSets
import Mixers
import Tensors

/// Mamba: layers of a selective scan alone, each with a norm before it.
///
/// In folders decays are logarithms, in GGUF files negative exponents.
///
/// Source: Gu and Dao 2023, Mamba: Linear-Time Sequence Modeling with Selective State Spaces.
enum Mamba: Architecture {
  static let name = "mamba"

  static func decoder(_ reader: DecoderReader) throws(TensorFileError) -> Decoder {
    let values = reader.values
    try reader.requireActivation(.silu)
    guard try !values.bool("ssm.dt_b_c_rms", default: false) else {
      throw reader.wrong("ssm.dt_b_c_rms", "norms of step sizes, B and C are not computed here")
    }
    let inner = try values.int("ssm.inner_size", in: 1...1 << 24)
    let states = try values.int("ssm.state_size", in: 1...4096)
    let rank = try values.int("ssm.time_step_rank", in: 1...1 << 20)
    let taps = try values.int("ssm.conv_kernel", in: 1...64)
    guard rank + 2 * states <= 2 * inner else {
      throw reader.wrong("ssm.time_step_rank", "\(rank) and two states are more than \(2 * inner)")
    }
    let sizes = try reader.sizesWithoutHeads(hidden: inner)
    let norm = try norm(reader)
    return try reader.decoder(sizes, outputNorm: norm) { prefix throws(TensorFileError) in
      let inputBias = prefix + "ssm_in.bias"
      let convolution = try convolution(reader, prefix, channels: inner, taps: taps)
      return MambaLayer(
        inner: inner, states: states, rank: rank,
        norm: try reader.norm(prefix + "attn_norm", norm, count: sizes.width),
        input: try reader.matrix(
          prefix + "ssm_in.weight", outputs: 2 * inner, inputs: sizes.width),
        inputBias: try reader.vectorIfAny(inputBias, count: 2 * inner),
        convolution: convolution.weight, convolutionBias: convolution.bias,
        parameters: try reader.matrix(
          prefix + "ssm_x.weight", outputs: rank + 2 * states, inputs: inner),
        steps: try reader.matrix(prefix + "ssm_dt.weight", outputs: inner, inputs: rank),
        shared: [
          MixerTensor(
            "a", ["channels": inner, "state": states], try exponents(reader, prefix, inner * states)
          ),
          MixerTensor(
            "d", ["channels": inner], try reader.vector(prefix + "ssm_d", count: inner)),
          MixerTensor(
            "delta_bias", ["channels": inner],
            try reader.vector(prefix + "ssm_dt.bias", count: inner)),
        ],
        output: try reader.matrix(prefix + "ssm_out.weight", outputs: sizes.width, inputs: inner),
        outputBias: try reader.vectorIfAny(prefix + "ssm_out.bias", count: sizes.width))
    }
  }

  /// The norm before each layer and after the last.
  static func norm(_ reader: DecoderReader) throws(TensorFileError) -> Normalisation {
    let values = reader.values
    let epsilon =
      values.has("attention.layer_norm_rms_epsilon")
      ? try values.number("attention.layer_norm_rms_epsilon")
      : try values.number("attention.layer_norm_epsilon", default: 1e-5)
    return .rootMeanSquare(epsilon: Float(epsilon))
  }

  /// The short convolution of a layer, and its bias where the file has one.
  static func convolution(
    _ reader: DecoderReader, _ prefix: String, channels: Int, taps: Int
  ) throws(TensorFileError) -> (weight: MixerTensor, bias: MixerTensor?) {
    let weight = MixerTensor(
      "conv_weight", ["channels": channels, "width": taps],
      try reader.numbers(prefix + "ssm_conv1d.weight", count: channels * taps))
    let name = prefix + "ssm_conv1d.bias"
    guard reader.file.has(name) else { return (weight, nil) }
    return (
      weight,
      MixerTensor(
        "conv_bias", ["channels": channels], try reader.vector(name, count: channels))
    )
  }

  /// The negative exponents of decays.
  static func exponents(
    _ reader: DecoderReader, _ prefix: String, _ count: Int
  ) throws(TensorFileError) -> [Float] {
    let logarithms = prefix + "ssm_a_log"
    if !reader.file.has(logarithms) { return try reader.numbers(prefix + "ssm_a", count: count) }
    return try reader.numbers(logarithms, count: count).map { Float(-exp(Double($0))) }
  }
}
