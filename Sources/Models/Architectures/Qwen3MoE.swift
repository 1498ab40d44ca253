import Compute
import Tensors

/// Qwen 3 with experts: Qwen 3 with a mixture of experts in place of each feed-forward part.
///
/// What a GGUF file leaves out is so by convention: the weights of a token's experts are 1
/// together.
///
/// Source: Yang et al. 2025, Qwen3 Technical Report, section 2.
enum Qwen3MoE: Architecture {
  static let name = "qwen3moe"

  static func decoder(_ reader: DecoderReader) throws(TensorFileError) -> Decoder {
    let (sizes, norm) = (try reader.sizesWithExperts(), try reader.rootMeanSquare())
    // Those of folders say when it is so.
    let isGGUF = if case .gguf = reader.file.source { true } else { false }
    let areOne = try reader.values.bool("expert_weights_norm", default: isGGUF)
    return try reader.decoder(sizes, outputNorm: norm) {
      _, prefix throws(TensorFileError) in
      var layer = try reader.layer(
        prefix, sizes, norm, reader.mixture(prefix, sizes, .silu, areOne ? .chosen : .all))
      layer.queryNorm = try reader.norm(prefix + "attn_q_norm", norm, count: sizes.headDim)
      layer.keyNorm = try reader.norm(prefix + "attn_k_norm", norm, count: sizes.headDim)
      return layer
    }
  }
}
