import Compute
import KernelSets
import Tensors

/// GPT-2: layer norms with biases, one matrix for queries, keys and values, learned positions, GELU
/// without a gate, biases everywhere.
///
/// Source: Radford et al. 2019, Language Models are Unsupervised Multitask Learners, section 2.3.
enum GPT2: Architecture {
  static let name = "gpt2"

  static func decoder(_ reader: DecoderReader) throws(TensorFileError) -> Decoder {
    let sizes = try reader.sizes()
    let (width, hidden) = (sizes.width, sizes.hidden)
    try reader.requireActivation(.gelu)
    let norm = Normalisation.layer(
      epsilon: Float(try reader.values.number("attention.layer_norm_epsilon", default: 1e-5)))
    var decoder = try reader.decoder(sizes, outputNorm: norm) {
      _, prefix throws(TensorFileError) in
      var part = DenseFeedForward(
        activation: .gelu, gate: nil,
        up: try reader.matrix(prefix + "ffn_up.weight", outputs: hidden, inputs: width),
        down: try reader.matrix(prefix + "ffn_down.weight", outputs: width, inputs: hidden))
      part.upBias = try reader.vector(prefix + "ffn_up.bias", count: hidden)
      part.downBias = try reader.vector(prefix + "ffn_down.bias", count: width)
      var layer = DecoderLayer(
        attentionNorm: try reader.norm(prefix + "attn_norm", norm, count: width),
        projections: [
          try reader.matrix(prefix + "attn_qkv.weight", outputs: 3 * width, inputs: width)
        ],
        output: try reader.matrix(prefix + "attn_output.weight", outputs: width, inputs: width),
        feedForwardNorm: try reader.norm(prefix + "ffn_norm", norm, count: width),
        feedForward: part)
      layer.projectionBias = try reader.vector(prefix + "attn_qkv.bias", count: 3 * width)
      layer.outputBias = try reader.vector(prefix + "attn_output.bias", count: width)
      return layer
    }
    decoder.positionEmbedding = try reader.matrix(
      "position_embd.weight", outputs: sizes.trainedLength, inputs: width)
    return decoder
  }
}
