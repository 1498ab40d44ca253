import Attention
import Compute
import Tensors

/// Gemma 3: norms before and after both parts of a layer, norms of the heads of queries and keys,
/// GeGLU, embeddings times √width, and five layers with a window for each without one.
///
/// Layers with a window turn positions by another base, and theirs are never scaled. What a GGUF
/// file leaves out is so by convention: every sixth layer sees all, and the local base is 10,000.
///
/// Source: Gemma Team 2025, Gemma 3 Technical Report, section 2.
enum Gemma3: Architecture {
  static let name = "gemma3"

  static func decoder(_ reader: DecoderReader) throws(TensorFileError) -> Decoder {
    let (sizes, norm) = (try reader.sizes(), try reader.rootMeanSquare())
    let values = reader.values
    let window = try values.int("attention.sliding_window", in: 1...1 << 40)
    let pattern = try values.int("attention.sliding_window_pattern", in: 1...1024, default: 6)
    let kinds = try reader.layerKinds()
    let localBase = try values.number("rope.freq_base_swa", default: 10_000)
    var decoder = try reader.decoder(sizes, outputNorm: norm) {
      number, prefix throws(TensorFileError) in
      var part = try reader.gated(prefix, sizes, .gelu)
      part.postNorm = try reader.norm(prefix + "post_ffw_norm", norm, count: sizes.width)
      var layer = try reader.layer(prefix, sizes, norm, part)
      layer.queryNorm = try reader.norm(prefix + "attn_q_norm", norm, count: sizes.headDim)
      layer.keyNorm = try reader.norm(prefix + "attn_k_norm", norm, count: sizes.headDim)
      layer.postAttentionNorm = try reader.norm(
        prefix + "post_attention_norm", norm, count: sizes.width)
      let hasWindow =
        kinds.isEmpty ? (number + 1) % pattern != 0 : kinds[number] == "sliding_attention"
      if hasWindow {
        layer.window = window
        layer.rotation?.base = localBase
        layer.rotation?.scaling = .none
      }
      return layer
    }
    decoder.embeddingScale = Float(sizes.width).squareRoot()
    let scalar = try values.number(
      "attention.query_pre_attn_scalar", default: Double(sizes.headDim))
    guard scalar > 0 else {
      throw reader.wrong("attention.query_pre_attn_scalar", "it is \(scalar)")
    }
    decoder.scale = 1 / scalar.squareRoot()
    return decoder
  }
}
