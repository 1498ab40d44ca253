import Attention
import Compute
import Tensors

/// gpt-oss: learned sinks in attention, a window in every other layer, YaRN positions, and in place
/// of a feed-forward part a mixture of experts with clamped gates and biases.
///
/// What a GGUF file leaves out is so by convention: the first layer has a window, the second sees
/// all; YaRN's ramp is not rounded.
///
/// Source: OpenAI 2025, gpt-oss-120b & gpt-oss-20b Model Card, section 2.
enum GPTOSS: Architecture {
  static let name = "gpt-oss"

  static func decoder(_ reader: DecoderReader) throws(TensorFileError) -> Decoder {
    let (sizes, norm) = (try reader.sizesWithExperts(), try reader.rootMeanSquare())
    let values = reader.values
    for (name, usual) in [("swiglu_alpha", 1.702), ("swiglu_limit", 7)] {
      let value = try values.number(name, default: usual)
      guard value == usual else {
        throw reader.wrong(name, "it is \(usual) here, and not \(value)")
      }
    }
    let window = try values.int("attention.sliding_window", in: 1...1 << 40)
    let kinds = try reader.layerKinds()
    let rotation = try reader.rotation(headDim: sizes.headDim, rounds: false)
    return try reader.decoder(sizes, outputNorm: norm) {
      number, prefix throws(TensorFileError) in
      var layer = try reader.layer(
        prefix, sizes, norm, feedForwardNorm: "post_attention_norm", rotation: rotation,
        reader.mixture(prefix, sizes, .clampedSilu, .chosen))
      layer.learnedSinks = LearnedSinks(
        try reader.vector(prefix + "attn_sinks.weight", count: sizes.queryHeads))
      let hasWindow = kinds.isEmpty ? number % 2 == 0 : kinds[number] == "sliding_attention"
      if hasWindow { layer.window = window }
      return layer
    }
  }
}
