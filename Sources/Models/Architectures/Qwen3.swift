import Compute
import Tensors

/// Qwen 3: Llama with norms of the heads of queries and keys.
///
/// Source: Yang et al. 2025, Qwen3 Technical Report, section 2.
enum Qwen3: Architecture {
  static let name = "qwen3"

  static func decoder(_ reader: DecoderReader) throws(TensorFileError) -> Decoder {
    let (sizes, norm) = (try reader.sizes(), try reader.rootMeanSquare())
    return try reader.decoder(sizes, outputNorm: norm) {
      _, prefix throws(TensorFileError) in
      var layer = try reader.gatedLayer(prefix, sizes, norm, .silu)
      layer.queryNorm = try reader.norm(prefix + "attn_q_norm", norm, count: sizes.headDim)
      layer.keyNorm = try reader.norm(prefix + "attn_k_norm", norm, count: sizes.headDim)
      return layer
    }
  }
}
